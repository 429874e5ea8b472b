# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The API over HTTPS, seen by a client, and what the validation says of it."""

from __future__ import annotations

import json
import socket
import ssl
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import ADDRESS, Client, Operator
from people import FLEET


def test_chat(key: str) -> None:
    answer = Client(key).chat()
    assert answer.status == 200
    assert answer.json()["choices"][0]["message"]["role"] == "assistant"
    assert answer.json()["model"] == "devstral-small-2"


def test_streaming(key: str) -> None:
    events = [line for line in Client(key).chat(stream=True).body.splitlines() if line.startswith("data: ")]
    assert events[-1] == "data: [DONE]"
    assert any(json.loads(event[6:])["choices"][0]["delta"].get("content") for event in events[:-1])


def test_tools_reach_the_model(key: str) -> None:
    """Agents send tools with each request; a chat template that drops them makes the model useless to them."""
    tool = {"type": "function", "function": {"name": "list_directory", "description": "Lists files.", "parameters": {}}}
    without, with_tools = (Client(key).chat(**options) for options in ({}, {"tools": [tool]}))
    assert with_tools.status == 200, with_tools.body
    assert with_tools.json()["usage"]["prompt_tokens"] > without.json()["usage"]["prompt_tokens"] + 10


@pytest.mark.parametrize("key", [pytest.param(None, id="no key"), pytest.param("sk-" + "x" * 43, id="wrong key")])
def test_without_a_key_there_is_no_answer(key: str | None) -> None:
    assert Client(key).chat().status == 401
    assert Client(key).request("GET", "/health").status == 200


@pytest.mark.parametrize("name", [ADDRESS, "copilot-default", "localhost", "127.0.0.1"])
def test_the_certificate_has_all_names(name: str) -> None:
    context = ssl.create_default_context(cafile=str(FLEET / "ca/ca.pem"))
    with (
        socket.create_connection((ADDRESS, 8443), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as tls,
    ):
        assert tls.version() in ("TLSv1.2", "TLSv1.3")


def test_nobody_else_is_trusted() -> None:
    with socket.create_connection((ADDRESS, 8443), 10) as plain, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname=ADDRESS)


def test_the_validation_passes_all_checks(operator: Operator, tmp_path: Path, key: str) -> None:
    files = {"validate_json": str(tmp_path / "v.json"), "validate_junit": str(tmp_path / "v.xml")}
    run = operator.run(playbook="playbooks/validate.yml", **files)
    assert run.status == 0, run.output[-3000:]
    assert key not in run.output
    cases = ET.parse(files["validate_junit"]).getroot().findall(".//testcase")
    assert len(cases) == 8
    assert key not in Path(files["validate_json"]).read_text()


def test_the_validation_fails_with_a_wrong_key(operator: Operator, tmp_path: Path) -> None:
    wrong = tmp_path / "key"
    wrong.write_text("sk-" + "x" * 43 + "\n")
    run = operator.run(
        playbook="playbooks/validate.yml",
        endpoint=f"https://{ADDRESS}:8443",
        api_key_file=str(wrong),
        ca_file=str(FLEET / "ca/ca.pem"),
    )
    assert run.status != 0
    assert "401" in run.output
