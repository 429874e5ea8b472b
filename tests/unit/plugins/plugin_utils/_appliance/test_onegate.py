# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""OneGate's answers, and what else may come in their place."""

from __future__ import annotations

import io
import json
import urllib.error

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance import onegate

SERVICE = {"SERVICE": {"roles": [{"nodes": [{"deploy_id": 11}, {"deploy_id": 12}]}, {"nodes": [{"deploy_id": 13}]}]}}


def vm(state="3", **attributes):
    return {"VM": {"STATE": state, "USER_TEMPLATE": attributes}}


@pytest.fixture
def answers(monkeypatch):
    """What OneGate answers: by path, a content, or a status."""
    found = {"/service": SERVICE, "/vms/12": vm(READY="YES"), "/vms/13": vm()}

    def answer(url, **_more):
        content = found[url.removeprefix("http://192.0.2.1:5030")]
        if isinstance(content, Exception):
            raise content
        if isinstance(content, int):
            raise urllib.error.HTTPError(url, content, "no", {}, None)
        return io.BytesIO(content if isinstance(content, bytes) else json.dumps(content).encode())

    monkeypatch.setattr(onegate, "open_url", answer)
    return found


GATE = onegate.OneGate("http://192.0.2.1:5030", "11", "dG9rZW4=")


def test_the_others_are_all_vms_of_the_service_that_run(answers):
    assert GATE.others() == {"12": {"READY": "YES"}, "13": {}}
    answers["/vms/12"] = vm(state="8")
    assert GATE.others() == {"13": {}}


@pytest.mark.parametrize("status", [400, 404])
def test_a_vm_that_left_since_it_was_listed_is_not_missed(answers, status):
    answers["/vms/12"] = status
    assert GATE.others() == {"13": {}}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/service", 401),
        ("/service", 404),
        ("/service", 500),
        ("/service", OSError("connection refused")),
        ("/service", b"<html>"),
        ("/service", {"SERVICE": {}}),
        ("/service", {"SERVICE": {"roles": []}}),
        ("/vms/12", 500),
        ("/vms/12", 401),
        ("/vms/12", {"VM": None}),
    ],
)
def test_what_is_no_answer_is_never_taken_for_a_service_without_vms(answers, path, content):
    answers[path] = content
    with pytest.raises(CopilotError, match="OneGate"):
        GATE.others()


def test_without_a_token_there_is_no_onegate():
    with pytest.raises(CopilotError, match="TOKEN=YES"):
        onegate.onegate({"ONEGATE_ENDPOINT": "http://192.0.2.1:5030"}, "")
