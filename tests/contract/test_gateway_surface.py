# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be reached through the gateway, and how it says no."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_rig import KEYS, Developer, Gateway
from rig import wait_for

LIMIT = 1048576  # bytes: what the default context of 32768 tokens gives
SECRET = "the-prompt-that-nobody-logs"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models?limit=1", "/health"])
def test_listed_paths_are_let_through(alice: Developer, path: str) -> None:
    assert alice.request("GET", path).status == 200


def test_health_needs_no_key(nobody: Developer) -> None:
    assert nobody.request("GET", "/health").status == 200


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/", id="root"),
        pytest.param("/ui/", id="admin page"),
        pytest.param("/docs", id="documentation"),
        pytest.param("/key/generate", id="administration"),
        pytest.param("/v1/chat/completions/", id="slash at the end"),
        pytest.param("/slots", id="slots from outside"),
        pytest.param("/props", id="props from outside"),
        pytest.param("/metrics", id="metrics from outside"),
        pytest.param("/v1/models/../../slots", id="dots"),
        pytest.param("/v1/models/%2e%2e/%2E%2E/slots", id="encoded dots"),
        pytest.param("//slots", id="two slashes"),
        pytest.param("/%73lots", id="encoded letter"),
    ],
)
def test_what_is_not_listed_is_not_there(alice: Developer, path: str) -> None:
    answer = alice.request("GET", path)
    assert answer.status == 404
    assert answer.error["code"] == "unknown_url"


def test_a_long_prompt_to_a_wrong_url_is_answered_too(alice: Developer) -> None:
    answer = alice.request("POST", "/v1/images", b"x" * 1000000)
    assert answer.status == 404, "and not cut off while the client sends"


@pytest.mark.parametrize("path", ["/slots", "/metrics", "/props"])
def test_admins_see_how_the_server_is_doing(alice: Developer, path: str) -> None:
    assert alice.request("GET", path).status == 404
    assert replace(alice, address="127.0.0.1").request("GET", path).status == 200


def test_a_key_is_needed(nobody: Developer) -> None:
    answer = nobody.models()
    assert answer.status == 401
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.error["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_key_must_be_the_right_one(nobody: Developer) -> None:
    answer = replace(nobody, key="sk-wrong-wrong-wrong").models()
    assert answer.status == 401
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json == nobody.models().json, "as without one"


def test_two_keys_in_one_request_are_refused(alice: Developer, bob: Developer) -> None:
    connection = alice.connect()
    connection.putrequest("GET", "/v1/models")
    for key in (alice.key, bob.key):
        connection.putheader("Authorization", f"Bearer {key}")
    connection.endheaders()
    assert connection.getresponse().status == 400


def test_the_other_header_for_keys_does_the_same(alice: Developer, nobody: Developer) -> None:
    assert alice.key
    assert nobody.request("GET", "/v1/models", **{"X-Api-Key": alice.key}).status == 200


def padded(size: int) -> bytes:
    """A body of just that size."""
    start = b'{"messages": [], "max_tokens": 1, "padding": "'
    return start + b"x" * (size - len(start) - 2) + b'"}'


@pytest.mark.parametrize(
    ("size", "refused"), [pytest.param(LIMIT, False, id="at the limit"), pytest.param(LIMIT + 1, True, id="a byte more")]
)
@pytest.mark.parametrize("chunked", [pytest.param(False, id="announced"), pytest.param(True, id="in chunks")])
def test_a_body_that_is_too_large_is_refused(alice: Developer, size: int, refused: bool, chunked: bool) -> None:
    answer = alice.request("POST", "/v1/chat/completions", iter([padded(size)]) if chunked else padded(size))
    assert (answer.status == 413) is refused
    if refused:
        assert answer.error["code"] == "request_too_large"


@pytest.mark.parametrize("size", [pytest.param(LIMIT, id="at the limit"), pytest.param(LIMIT + 1, id="a byte more")])
def test_http_2(alice: Developer, tmp_path: Path, size: int) -> None:
    (tmp_path / "body").write_bytes(padded(size))
    (tmp_path / "headers").write_text(f"Authorization: Bearer {alice.key}\n")
    command = ["curl", "--silent", "--http2", "--cacert", str(alice.gateway.ca[0]), "--header", f"@{tmp_path / 'headers'}"]
    command += ["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}", "--data-binary", f"@{tmp_path / 'body'}"]
    command.append(f"https://127.0.0.1:{alice.gateway.port}/v1/chat/completions")
    # Refused early, the stream is reset after the answer, which curl calls an error of its own.
    version, status = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    assert version == "2"
    assert (status == "413") is (size > LIMIT)


def test_the_log_has_neither_keys_nor_prompts(gateway: Gateway, alice: Developer, bob: Developer) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": SECRET}], "max_tokens": 1})
    assert alice.request("POST", f"/v1/chat/completions?key={bob.key}", body).status == 200
    wait_for(
        "the line", lambda: f"{alice.address} POST /v1/chat/completions 200 user={alice.name} role=developer " in gateway.log
    )
    assert not [secret for secret in (SECRET, *KEYS.values()) if secret in gateway.log]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_protocols_are_refused(alice: Developer, version: ssl.TLSVersion) -> None:
    context = alice.context()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="(?i)protocol_version|protocol version"):
        alice.connect(context).connect()


def test_its_metrics_are_for_this_host(gateway: Gateway) -> None:
    assert "haproxy_frontend_http_responses_total" in gateway.metrics()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        gateway.metrics("/")
    with pytest.raises(urllib.error.URLError, match="refused"):
        gateway.metrics(address="127.0.0.2")
