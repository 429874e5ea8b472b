# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An archive for strangers: what is planted in what hosts say is not in it."""

from __future__ import annotations

import json
import stat
import tarfile

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.loader import connection_loader
from ansible.template import Templar
from ansible_collections.slm.copilot.plugins.action.logs_archive import ActionModule

ALICE, SERVER = "sk-KEYofALICE-0123456789abcdef", "sk-KEYofSERVER-0123456789abcdef"
KEY_FILE = "# API keys, each under its name. Managed by slm.copilot.api_key.\n# name: {}\n{}\n"
GIVEN = "correct horse battery"  # a password of the inventory

AT = "2026-11-27T06:16:01+00:00 "
OK = "0.15.882.567 I slot      release: id  0 | task 0 | stop processing: n_tokens = 40, truncated = 0"
ENGINE = f"""{AT}systemd[1]: Started slm-copilot.service.
{AT}llama-server[7]: {OK}
{AT}llama-server[7]: 0.16.009.656 W srv    operator(): got exception: {{"error":{{"message":"last read: 'PROMPT'"}}}}
{AT}llama-server[7]: parse: error parsing grammar: expecting ::= at PROMPT
{AT}llama-server[7]:
{AT}llama-server[7]: PROMPT := PROMPT
{AT}llama-server[7]: 0.16.509.737 E failed to parse grammar
{AT}llama-server[7]: 0.16.509.784 E srv    send_error: task id = 4, error: unrecognized type PROMPT
{AT}llama-server[7]: 0.16.509.790 W srv  something: unrecognized type "PROMPT"
"""
ROUTER = f"""{AT}python[8]: INFO: request user=alice model=tiny outcome=answered status=200 seconds=1.0 computed=3
{AT}python[8]: INFO: request user=carol%20jones model=tiny outcome=left status=- seconds=1.0
{AT}python[8]: WARNING: llama-server failed a request: it loads its model
{AT}python[8]: Traceback (most recent call last):
{AT}python[8]:   File "/opt/slm-copilot/router/current/copilot_router/app.py", line 9, in _answer
{AT}python[8]:     raise ValueError(PROMPT)
{AT}python[8]: ValueError: PROMPT
"""
GATEWAY = f"""{AT}haproxy[9]: 192.0.2.77 POST /v1/chat/completions 200 user=alice role=developer wait=0 first=9 server=upstream
{AT}haproxy[9]: 192.0.2.77 GET /v1/models/PROMPT 404 user=alice role=developer wait=0 first=9 server=upstream
{AT}haproxy[9]: 2001:db8::77 GET /PROMPT 404 user=- role=- wait=0 first=9 server=<NOSRV>
{AT}haproxy[9]: 192.0.2.77:4711 [27/Nov/2026:06:16:01.000] api/1: SSL handshake failure
{AT}haproxy[9]: PROMPT as a line
"""
BUILD = f"""{AT}certbot[10]: alice@corp.example asks https://hooks.corp.example/PROMPT
{AT}certbot[10]: of madrid-1.corp.example, not localhost 127.0.0.1
"""
HOSTS = {
    "madrid-1": {
        "journals": {
            "slm-copilot.service": ENGINE,
            "slm-copilot-router.service": ROUTER,
            "slm-copilot-gateway.service": GATEWAY,
            "slm-copilot-acme.service": BUILD,
        },
        "texts": {
            "configuration/report.json": json.dumps({"endpoint": "https://192.0.2.10:8443/v1", "users": ["shared", "dave"]}),
            "versions": f"HAProxy 2.6.12\nkey {ALICE} {SERVER} sk-unknown0123456789 Bearer abc {GIVEN} dave bob\nat 06:16:01",
            "units/x.service": "Environment=https_proxy=http://me:hunter22@proxy.corp.example:3128\npassword: hunter22",
            "pem": "-----BEGIN EC PRIVATE KEY-----\nMHcPROMPT\n-----END EC PRIVATE KEY-----\nafter",
        },
        "names": ["madrid-1", "madrid-1.corp.example"],
    },
    "paris-1": {"msg": "Failed to connect to paris.corp.example", "unreachable": True},
}
PLANTED = ["PROMPT", ALICE, SERVER, "sk-unknown", "Bearer abc", GIVEN, "hunter22", "alice", "bob", "carol", "dave"]
PLANTED += ["192.0.2.", "2001:db8", "madrid", "paris", "hooks.corp", "MHc"]


@pytest.fixture
def folder(tmp_path):
    for file, name, key in (("api-keys", "alice", ALICE), ("backend-keys", "madrid-1", SERVER)):
        (tmp_path / file).write_text(KEY_FILE.format(name, key))
    return tmp_path


def run(folder, check_mode=False, hosts=None):
    task = Task()
    task.check_mode = check_mode
    task.args = {
        "path": str(folder / "bug.tar.gz"),
        "hosts": HOSTS if hosts is None else hosts,
        "folder": str(folder),
        "secrets": [GIVEN, ""],
        "names": ["bob"],
    }
    task.args["addresses"] = {"madrid-1": ["192.0.2.10"], "paris-1": ["paris.corp.example"]}
    context, loader = PlayContext(), DataLoader()
    connection = connection_loader.get("ansible.builtin.local", context)
    return ActionModule(task, connection, context, loader, Templar(loader, variables={}), None).run(task_vars={})


@pytest.fixture
def archive(folder):
    assert run(folder)["placeholders"] == {"madrid-1": "host-1", "paris-1": "host-2"}
    with tarfile.open(folder / "bug.tar.gz") as packed:
        return {
            one.name.removeprefix("slm-copilot-logs/"): packed.extractfile(one).read().decode() for one in packed.getmembers()
        }


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_is_in_no_file_and_no_name(archive, planted):
    assert [name for name, text in archive.items() if planted in name or planted in text] == []


def test_what_helps_is_there(archive):
    engine = archive["host-1/journal/slm-copilot.service"]
    assert engine == (
        f"{AT}systemd[1]: Started slm-copilot.service.\n"
        f"{AT}llama-server[7]: {OK}\n"
        f"{AT}llama-server[7]: 0.16.009.656 W srv    operator(): got [left out]\n"
        "[3 left out]\n"
        f"{AT}llama-server[7]: 0.16.509.737 E failed to parse grammar\n"
        f"{AT}llama-server[7]: 0.16.509.784 E srv    send_error: task id = 4, [left out]\n"
        f"{AT}llama-server[7]: 0.16.509.790 W srv  something: unrecognized type [left out]\n"
    )
    router = archive["host-1/journal/slm-copilot-router.service"]
    assert "INFO: request user=user-1 model=tiny outcome=answered" in router
    assert "WARNING: llama-server failed a request: it loads its model" in router
    assert router.endswith(f'app.py", line 9, in _answer\n[1 left out]\n{AT}python[8]: ValueError\n')
    gateway = archive["host-1/journal/slm-copilot-gateway.service"].splitlines()
    assert gateway[0].endswith("POST /v1/chat/completions 200 user=user-1 role=developer wait=0 first=9 server=upstream")
    assert [" GET /v1/[path] 404" in gateway[1], " GET /[path] 404 user=- " in gateway[2]] == [True, True]
    assert gateway[0].split()[2] == gateway[1].split()[2] == gateway[3].split()[2].removesuffix(":4711") == "address-1"
    assert archive["host-1/journal/slm-copilot-acme.service"].endswith("not localhost 127.0.0.1\n")
    assert archive["host-1/versions"].startswith("HAProxy 2.6.12\n")
    assert archive["host-1/versions"].endswith("at 06:16:01")
    assert '"endpoint": "https://host-1:8443/v1"' in archive["host-1/configuration/report.json"]
    assert archive["host-1/pem"] == "[PEM]\nafter"
    assert archive["host-2/missing"] == "Failed to connect to host-2\n"


def test_it_is_its_owner_s_alone_and_replaces_nothing(folder):
    run(folder)
    assert stat.S_IMODE((folder / "bug.tar.gz").stat().st_mode) == 0o600
    again = run(folder)
    assert again["failed"]
    assert "is not replaced" in again["msg"]


def test_check_mode_writes_nothing(folder):
    assert run(folder, check_mode=True)["changed"]
    assert not (folder / "bug.tar.gz").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"users": 7}'], ids=["cut off", "a list", "a number of users"])
def test_a_report_that_is_none_has_no_names(folder, content):
    hosts = {"madrid-1": {"journals": {}, "texts": {"configuration/report.json": content}}}
    assert run(folder, hosts=hosts)["changed"]
