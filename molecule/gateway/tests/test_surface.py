# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be reached from outside, and how the gateway says no."""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path

import pytest
from conftest import ADDRESS, CA, Client, connect
from testinfra.host import Host

LIMIT = 1048576  # bytes: what the default context of 32768 tokens gives
SECRET = "the-prompt-that-nobody-logs"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models?limit=1", "/health"])
def test_listed_paths_are_let_through(team: Client, path: str) -> None:
    assert team.request("GET", path).status == 200


def test_health_needs_no_key() -> None:
    assert Client(None).request("GET", "/health").status == 200


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
def test_what_is_not_listed_is_not_there(team: Client, path: str) -> None:
    answer = team.request("GET", path)
    assert answer.status == 404
    assert answer.error["code"] == "unknown_url"


def test_a_long_prompt_to_a_wrong_url_is_answered_too(team: Client) -> None:
    answer = team.request("POST", "/v1/responses", b"x" * 1000000)
    assert answer.status == 404, "and not cut off while the client sends"


@pytest.mark.parametrize("path", ["/slots", "/metrics", "/props"])
def test_admins_see_how_the_server_is_doing(server: Host, keys: dict[str, str], path: str) -> None:
    program = (
        "import ssl, sys, urllib.request as r; "
        f"url = 'https://' + sys.argv[1] + ':8443{path}'; "
        "q = r.Request(url, headers={'Authorization': 'Bearer ' + sys.stdin.read().strip()}); "
        "print(r.urlopen(q, context=ssl.create_default_context(cafile='/etc/slm-copilot/ca.pem')).status)"
    )
    # The host is no admin under its public address, and is one under the loopback address.
    assert "404" in server.run("printf %%s %s | python3 -c %s %s", keys["shared"], program, ADDRESS).stderr
    assert server.check_output("printf %%s %s | python3 -c %s %s", keys["shared"], program, "127.0.0.1") == "200"


def test_a_key_is_needed() -> None:
    answer = Client(None).models()
    assert answer.status == 401
    assert answer.error["message"] == "Invalid API Key"


def test_two_keys_in_one_request_are_refused(keys: dict[str, str]) -> None:
    connection = connect()
    connection.putrequest("GET", "/v1/models")
    for name in ("alice", "bob"):
        connection.putheader("Authorization", f"Bearer {keys[name]}")
    connection.endheaders()
    assert connection.getresponse().status == 400


def test_the_other_header_for_keys_does_the_same(keys: dict[str, str]) -> None:
    answer = Client(None).request("GET", "/v1/models", **{"X-Api-Key": keys["bob"]})
    assert answer.status == 200


@pytest.mark.parametrize(
    ("size", "refused"), [pytest.param(LIMIT, False, id="at the limit"), pytest.param(LIMIT + 1, True, id="a byte more")]
)
@pytest.mark.parametrize("chunked", [pytest.param(False, id="announced"), pytest.param(True, id="in chunks")])
def test_a_body_that_is_too_large_is_refused(team: Client, size: int, refused: bool, chunked: bool) -> None:
    start = b'{"messages": [], "max_tokens": 1, "padding": "'
    body = start + b"x" * (size - len(start) - 2) + b'"}'
    connection = team.send("POST", "/v1/chat/completions", iter([body]) if chunked else body)
    response = connection.getresponse()
    assert (response.status == 413) is refused
    if refused:
        assert json.loads(response.read())["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("size", [pytest.param(LIMIT, id="at the limit"), pytest.param(LIMIT + 1, id="a byte more")])
def test_http_2(keys: dict[str, str], tmp_path: Path, size: int) -> None:
    start = b'{"messages": [], "max_tokens": 1, "padding": "'
    (tmp_path / "body").write_bytes(start + b"x" * (size - len(start) - 2) + b'"}')
    (tmp_path / "headers").write_text(f"Authorization: Bearer {keys['shared']}\n")
    command = [
        "curl",
        "--silent",
        "--http2",
        "--cacert",
        str(CA),
        "--header",
        f"@{tmp_path / 'headers'}",
        "--output",
        "/dev/null",
    ]
    command += ["--write-out", "%{http_version} %{http_code}", "--data-binary", f"@{tmp_path / 'body'}"]
    # Refused early, the stream is reset after the answer, which curl calls an error of its own.
    said = subprocess.run([*command, f"https://{ADDRESS}:8443/v1/chat/completions"], capture_output=True, text=True, check=False)
    version, status = said.stdout.split()
    assert version == "2"
    assert (status == "413") is (size > LIMIT)


def test_the_log_has_neither_keys_nor_prompts(server: Host, team: Client, keys: dict[str, str]) -> None:
    now = server.check_output("date +%s")
    body = json.dumps({"messages": [{"role": "user", "content": SECRET}], "max_tokens": 1})
    assert team.request("POST", f"/v1/chat/completions?key={keys['alice']}", body).status == 200
    log = server.check_output("journalctl --unit=slm-copilot-gateway --output=cat --no-pager --since=@" + now)
    assert "POST /v1/chat/completions 200 key=" in log
    assert not [secret for secret in (SECRET, *keys.values()) if secret in log]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_protocols_are_refused(version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(CA))
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    connection = connect()
    connection._context = context
    with pytest.raises(ssl.SSLError, match="(?i)protocol_version|protocol version"):
        connection.connect()


def test_it_is_not_root_and_its_sandbox_is_tight(server: Host) -> None:
    unit = "slm-copilot-gateway.service"
    pids = server.check_output(f"cat /sys/fs/cgroup/system.slice/{unit}/cgroup.procs 2>/dev/null || pidof haproxy").split()
    uid = str(server.user("slm-copilot").uid)
    assert pids
    for pid in pids:
        status = server.check_output(f"cat /proc/{pid}/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(fields["Uid"].split()) == {uid}
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    overall = server.check_output(f"systemd-analyze security {unit} | tail -1")
    assert float(overall.split(f"{unit}:")[1].split()[0]) < 2.0


def test_the_packages_own_service_never_ran(server: Host) -> None:
    assert server.run("systemctl is-active haproxy").stdout.strip() == "inactive"
    assert server.check_output("journalctl --unit=haproxy --no-pager --quiet") == ""


def test_its_metrics_are_for_this_host(server: Host) -> None:
    assert server.socket("tcp://127.0.0.1:8405").is_listening
    assert not server.socket("tcp://0.0.0.0:8405").is_listening
    program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8405/metrics').read().decode())"
    assert "haproxy_frontend_http_responses_total" in server.check_output("python3 -c %s", program)
