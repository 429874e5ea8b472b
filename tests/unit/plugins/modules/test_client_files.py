# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import stat

import pytest
from ansible_collections.slm.copilot.plugins.modules import client_files

CA = "-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----\n"
KEYS = {"alice": "sk-alice-alice-alice", "bob": "sk-bob-bob-bob-bob"}


@pytest.fixture
def parameters(tmp_path):
    (tmp_path / "ca.pem").write_text(CA)
    return {
        "path": str(tmp_path / "clients"),
        "ca_path": str(tmp_path / "ca.pem"),
        "endpoints": [endpoint("madrid-1", ["alice", "bob"])],
    }


def endpoint(name, users, keys=None):
    url = f"https://{name}:8443/v1"
    models = [{"name": "tiny", "context_size": 4096}]
    return {"name": name, "url": url, "models": models, "users": users, "keys": keys or KEYS}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def modes(folder):
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_comments_of_a_ca_are_left_out(run_module, parameters, tmp_path, encoding):
    (tmp_path / "ca.pem").write_bytes(f"Autorité de Orléans\n{CA}# fin à dater\n{CA}".replace("\n", "\r\n").encode(encoding))
    assert run_module(client_files, parameters)["changed"]
    assert (tmp_path / "clients/alice/ca.pem").read_text() == CA * 2


def test_a_file_without_a_certificate_is_no_ca(run_module, parameters, tmp_path):
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    result = run_module(client_files, parameters)
    assert result["failed"] and f"ca_path: {tmp_path}/ca.pem holds no certificate in PEM form" in result["msg"]
    assert not (tmp_path / "clients").exists()


def test_check_run_check_run(run_module, parameters, tmp_path):
    clients = tmp_path / "clients"
    foreseen = run_module(client_files, parameters, check=True, diff=True)
    assert foreseen["changed"] and not clients.exists()

    made = run_module(client_files, parameters, diff=True)
    assert made["changes"] == foreseen["changes"] and made["diff"] == foreseen["diff"]
    assert made["archives"]["alice"] == str(clients / "alice/slm-copilot-alice.tar.gz")
    assert modes(clients) == {(True, 0o700), (False, 0o600)}
    assert "alice/continue/config.yaml (added)" in made["diff"]["after"]
    assert not any(key in json.dumps(made) for key in KEYS.values())

    before = contents(clients)
    assert not run_module(client_files, parameters, check=True)["changed"]
    assert not run_module(client_files, parameters)["changed"]
    assert contents(clients) == before


def test_a_new_key_changes_what_holds_it_and_is_shown_nowhere(run_module, parameters, tmp_path):
    run_module(client_files, parameters)
    parameters["endpoints"] = [endpoint("madrid-1", ["alice", "bob"], {**KEYS, "alice": "sk-new-new-new-new"})]
    result = run_module(client_files, parameters, diff=True)
    assert result["changes"]["alice/api-key"] == "changed" and "alice/slm-copilot-alice.tar.gz" in result["changes"]
    assert not any(name.startswith("bob/") for name in result["changes"])
    assert "sk-" not in json.dumps({**result, "invocation": None})


def test_who_leaves_loses_the_files_and_nobody_else_does(run_module, parameters, tmp_path):
    clients = tmp_path / "clients"
    run_module(client_files, parameters)
    (clients / "notes.txt").write_text("the operator's own")
    (clients / "bob/client.p12").write_text("from another role")
    parameters["endpoints"] = [endpoint("madrid-1", ["alice"])]
    result = run_module(client_files, parameters)
    assert result["changes"]["bob/api-key"] == "removed"
    assert [path.name for path in (clients / "bob").iterdir()] == ["client.p12"]
    assert (clients / "notes.txt").exists() and (clients / "alice/api-key").exists()
    assert not run_module(client_files, parameters)["changed"]


def test_a_second_endpoint_moves_the_files_into_folders(run_module, parameters, tmp_path):
    run_module(client_files, parameters)
    parameters["endpoints"].append(endpoint("paris-1", ["alice"]))
    run_module(client_files, parameters)
    alice = tmp_path / "clients/alice"
    assert sorted(path.name for path in alice.iterdir()) == [
        "README.md",
        "ca.pem",
        "madrid-1",
        "paris-1",
        "slm-copilot-alice.tar.gz",
    ]


def test_a_wrong_mode_is_mended(run_module, parameters, tmp_path):
    run_module(client_files, parameters)
    (tmp_path / "clients/alice/api-key").chmod(0o644)
    assert run_module(client_files, parameters)["changes"] == {"alice/api-key": "mode"}
    assert modes(tmp_path / "clients") == {(True, 0o700), (False, 0o600)}


def test_the_list_of_what_was_written_cannot_lead_outside(run_module, parameters, tmp_path):
    run_module(client_files, parameters)
    (tmp_path / "precious").write_text("")
    (tmp_path / "clients/.written.json").write_text(json.dumps(["../precious", str(tmp_path / "precious")]))
    assert not run_module(client_files, parameters)["changed"]
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param({"ca_path": "/nonexistent/ca.pem"}, "ca_path: /nonexistent/ca.pem cannot be read", id="no CA"),
        pytest.param({"mtls": "required"}, "alice has no client.pem yet, and mtls is required", id="no client certificate"),
        pytest.param({"endpoints": [endpoint("madrid-1", ["carol"])]}, "madrid-1 has no key for carol yet", id="no key"),
        pytest.param({"path": "/proc/clients"}, "path: /proc/clients cannot be written", id="no place"),
    ],
)
def test_refusals_show_no_key_and_write_nothing(run_module, parameters, tmp_path, spoil, message):
    result = run_module(client_files, {**parameters, **spoil})
    assert result["failed"] and message in result["msg"]
    assert not any(key in json.dumps(result) for key in KEYS.values())
    assert not (tmp_path / "clients").exists()


def test_certificates_to_come_are_foreseen(run_module, parameters):
    assert run_module(client_files, {**parameters, "mtls": "required"}, check=True)["changed"]
