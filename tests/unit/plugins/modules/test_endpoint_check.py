# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import render_key_file
from ansible_collections.slm.copilot.plugins.modules import endpoint_check


@pytest.fixture
def parameters(start_endpoint, certificates):
    endpoint = start_endpoint()
    return {"url": endpoint.url, "ca_path": str(certificates / "ca.pem"), "api_key": endpoint.key}


def test_good_endpoint(run_module, parameters):
    result = run_module(endpoint_check, parameters)
    assert result["passed"] is True and result["changed"] is False and result["failed_count"] == 0
    assert (result["url"], result["model"], result["models"]) == (parameters["url"], "tiny", ["tiny", "small"])
    assert set(result["timings"]) == {"connect", "chat", "first_token", "stream", "tokens", "tokens_per_second"}
    assert len(result["checks"]) == 8
    assert result["invocation"]["module_args"]["api_key"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert parameters["api_key"] not in json.dumps(result)


@pytest.mark.parametrize("url", ["https://user:secret@localhost:1", "https://localhost/?key=secret", "https://u:sec/ret@secret"])
def test_a_secret_in_the_address_is_not_repeated(run_module, parameters, url):
    result = run_module(endpoint_check, {**parameters, "url": url})
    assert result["failed"] is True and "url: must have the form" in result["msg"]
    assert "secret" not in json.dumps(result)


def test_a_failure_says_what_failed(run_module, parameters):
    result = run_module(endpoint_check, {**parameters, "model": "big"})
    assert result["failed"] is True
    assert result["msg"] == (f"{parameters['url']} failed 1 of 8 checks. Model list: 'big' is not served, only tiny, small")
    assert result["failed_count"] == 1 and len(result["checks"]) == 8
    tolerated = run_module(endpoint_check, {**parameters, "model": "big", "fail_on_error": False})
    assert "failed" not in tolerated and tolerated["passed"] is False and tolerated["failed_count"] == 1


@pytest.mark.parametrize(
    ("keys", "name", "passed"),
    [
        pytest.param(("right", "wrong"), None, True, id="first"),
        pytest.param(("wrong", "right"), None, False, id="first_is_wrong"),
        pytest.param(("wrong", "right"), "right", True, id="named"),
    ],
)
def test_key_file(run_module, parameters, tmp_path, *, keys, name, passed):
    values = {"right": parameters.pop("api_key"), "wrong": "sk-another-another"}
    key_file = tmp_path / "api-keys"
    key_file.write_bytes(render_key_file({key: values[key] for key in keys}))
    extra = {"api_key_name": name} if name else {}
    result = run_module(endpoint_check, {**parameters, **extra, "api_key_file": str(key_file)})
    assert result["passed"] is passed
    assert not any(value in json.dumps(result) for value in values.values())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({"api_key": None}, "one of the following is required: api_key, api_key_file", id="no_key"),
        pytest.param({"api_key_file": "/k"}, "mutually exclusive: api_key|api_key_file", id="both_keys"),
        pytest.param({"api_key": ""}, "api_key: the key has 0 characters", id="empty_key"),
        pytest.param(
            {"api_key": None, "api_key_file": "/nowhere"},
            "api_key_file: /nowhere cannot be read: No such file or directory",
            id="no_key_file",
        ),
        pytest.param(
            {"api_key": None, "api_key_file": "{foreign}", "api_key_name": "alice"},
            "foreign cannot be used: its first line is not",
            id="foreign_key_file",
        ),
        pytest.param({"url": "host:8443"}, "url: must have the form https://host:port", id="url"),
        pytest.param({"timeout": 0}, "timeout: is 0, and must be more than 0", id="no_time"),
        pytest.param({"max_tokens": -1}, "max_tokens: is -1, and must be more than 0", id="negative_tokens"),
        pytest.param({"client_key": "/k"}, "'client_key': client_cert", id="client_key_alone"),
    ],
)
def test_parameters_refused(run_module, parameters, tmp_path, changes, text):
    (tmp_path / "foreign").write_text("sk-foreign-foreign\n")
    changes = {
        name: value.format(foreign=tmp_path / "foreign") if isinstance(value, str) else value for name, value in changes.items()
    }
    given = {name: value for name, value in {**parameters, **changes}.items() if value is not None}
    result = run_module(endpoint_check, given)
    assert result["failed"] and text in result["msg"]
    assert "sk-foreign" not in json.dumps(result)
