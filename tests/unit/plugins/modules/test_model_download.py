# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import re

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.download.wanted import Wanted
from ansible_collections.slm.copilot.plugins.modules import model_download

PARAMETERS = {
    "dest": "/models/m.gguf",
    "repo": "acme/tiny",
    "file": "m.gguf",
    "revision": "main",
    "endpoint": None,
    "url": None,
    "url_with_secrets": None,
    "src": None,
    "src_size": 0,
    "src_mtime_ns": 0,
    "sha256": None,
    "token": None,
    "token_file": None,
    "ca_path": None,
    "min_free_mib": 2,
    "lock_timeout": 5,
    "verify_gguf": True,
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("HF_TOKEN", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("places", "token"),
    [
        pytest.param(("hf_parameter", "hf_file\n", "hf_environment"), "hf_parameter", id="the-parameter-first"),
        pytest.param((None, "hf_file\n", "hf_environment"), "hf_file", id="then-the-file"),
        pytest.param((None, None, " hf_environment "), "hf_environment", id="then-the-environment"),
        pytest.param((None, None, ""), None, id="none"),
    ],
)
def test_the_token_comes_from_the_first_place_that_has_one(tmp_path, monkeypatch, places, token):
    parameter, file, environment = places
    path = tmp_path / "token"
    if file:
        path.write_text(file)
    monkeypatch.setenv("HF_TOKEN", environment)
    parameters = {"token": parameter, "token_file": str(path) if file else None}
    assert model_download.read_token(parameters) == token


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "token_file: cannot read {path} on the host: No such file or directory.", id="missing"),
        pytest.param(b"", "token_file: {path} must hold one token and nothing else.", id="empty"),
        pytest.param(b"hf_secret hf_more", "token_file: {path} must hold one token and nothing else.", id="two"),
        pytest.param("hf_gehéim".encode(), "token_file: cannot read {path} on the host: it is not", id="not-ascii"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_named(tmp_path, content, words):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CopilotError, match=re.escape(words.format(path=path))) as error:
        model_download.read_token({"token": None, "token_file": str(path)})
    assert "hf_" not in str(error.value)


def test_units_and_spelling_are_evened_out():
    wanted = model_download.wanted_from({**PARAMETERS, "sha256": "AB" * 32})
    assert (wanted.min_free, wanted.sha256, wanted.token) == (2 << 20, "ab" * 32, None)


def test_a_token_is_only_read_for_the_hub():
    parameters = {**PARAMETERS, "repo": None, "file": None, "url": "https://a/b", "token": "hf_x"}
    assert model_download.wanted_from(parameters).token is None


@pytest.mark.parametrize(
    ("parameter", "environment", "ca"),
    [
        pytest.param("/p", {"SSL_CERT_FILE": "/s", "REQUESTS_CA_BUNDLE": "/r"}, "/p", id="the-parameter-first"),
        pytest.param(None, {"SSL_CERT_FILE": "/s", "REQUESTS_CA_BUNDLE": "/r"}, "/s", id="then-ssl-cert-file"),
        pytest.param(None, {"REQUESTS_CA_BUNDLE": "/r"}, "/r", id="then-requests-ca-bundle"),
        pytest.param(None, {}, None, id="the-system-s"),
    ],
)
def test_the_ca_comes_from_the_first_place_that_has_one(monkeypatch, parameter, environment, ca):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert model_download.wanted_from({**PARAMETERS, "ca_path": parameter}).ca_path == ca


RECORD = {
    "format": 1,
    "size": 5,
    "sha256": "1" * 64,
    "mtime_ns": 9,
    "source": "hub",
    "revision": "f" * 40,
    "etag": "x",
    "gguf": None,
    "changed": True,
    "msg": "fetched and verified",
    "resumed_from": 2,
}


@pytest.mark.parametrize(
    ("source", "pin"),
    [
        pytest.param({"repo": "a/b", "file": "c"}, {"repo": "a/b", "file": "c", "revision": "f" * 40}, id="hub-with-its-commit"),
        pytest.param({"url": "https://a/b"}, {"url": "https://a/b"}, id="address"),
        pytest.param({"url": "https://a/b?signature=x"}, {}, id="signed-address"),
        pytest.param({"url": "https://user:secret@a/b"}, {}, id="address-with-a-password"),
        pytest.param({"src": "/m/x.gguf"}, {}, id="file-of-the-controller"),
    ],
)
def test_a_pin_gets_the_same_bytes_again(source, pin):
    record = RECORD if "repo" in source else {**RECORD, "revision": None}
    shown = model_download.presented(record, Wanted(dest="/m", **source))
    assert shown["pin"] == {**pin, "sha256": "1" * 64, "size": 5}
    assert not {"format", "mtime_ns", "etag", "gguf"} & set(shown)
    assert (shown["changed"], shown["resumed_from"]) == (True, 2)
