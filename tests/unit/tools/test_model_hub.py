# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
CONTENT = b"GGUF" + bytes(range(256)) * 1000


model_hub = pytest.importorskip("model_hub")


@pytest.fixture
def hub(tmp_path):
    repo = tmp_path / "acme" / "tiny"
    repo.mkdir(parents=True)
    (repo / "tiny.gguf").write_bytes(CONTENT)
    (repo / "README.md").write_text("read me\n")
    (tmp_path / "secret.gguf").write_bytes(b"outside of the repository")
    with model_hub.Hub(tmp_path) as running:
        yield running


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def ask(hub, path, method="GET", body=None, *, follow=True, port=None, **headers):
    """Returns status, headers and body of an answer."""
    url = f"http://127.0.0.1:{port or hub.port}{path}"
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    opener = urllib.request.build_opener(*([] if follow else [NoRedirect()]))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_a_large_file_is_announced_and_lives_elsewhere(hub):
    status, headers, _body = ask(hub, "/acme/tiny/resolve/main/tiny.gguf", "HEAD", follow=False)
    assert status == 302
    assert headers["X-Linked-ETag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert headers["X-Linked-Size"] == str(len(CONTENT))
    assert len(headers["X-Repo-Commit"]) == 40
    assert headers["Location"].startswith(f"http://127.0.0.1:{hub.cdn_port}/cdn/")
    assert ask(hub, "/acme/tiny/resolve/main/tiny.gguf")[2] == CONTENT


def test_a_small_file_is_served_by_the_hub_itself(hub):
    status, headers, body = ask(hub, "/acme/tiny/resolve/main/README.md", follow=False)
    assert (status, body) == (200, b"read me\n")
    assert headers["ETag"] == f'"{hashlib.sha1(b"blob 8" + bytes(1) + b"read me" + bytes([10])).hexdigest()}"'


@pytest.mark.parametrize(
    ("asked", "expected", "part"),
    [
        pytest.param("bytes=10-19", "bytes 10-19", CONTENT[10:20], id="closed"),
        pytest.param("bytes=256000-", "bytes 256000-256003", CONTENT[256000:], id="open"),
        pytest.param("bytes=256003-999999", "bytes 256003-256003", CONTENT[-1:], id="past-the-end"),
    ],
)
def test_ranges_are_served(hub, asked, expected, part):
    status, headers, body = ask(hub, "/files/acme/tiny/tiny.gguf", Range=asked)
    assert (status, headers["Content-Range"], body) == (206, f"{expected}/{len(CONTENT)}", part)


def test_a_range_behind_the_end_is_refused(hub):
    status, headers, _body = ask(hub, "/files/acme/tiny/tiny.gguf", Range=f"bytes={len(CONTENT)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


def test_a_range_of_another_version_is_answered_with_everything(hub):
    status, _headers, body = ask(hub, "/files/acme/tiny/tiny.gguf", **{"Range": "bytes=10-", "If-Range": '"other"'})
    assert (status, body) == (200, CONTENT)


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        pytest.param("/acme/none/resolve/main/x", None, 401, "RepoNotFound", id="repo-for-a-stranger"),
        pytest.param("/acme/none/resolve/main/x", "good", 404, "RepoNotFound", id="repo-for-a-friend"),
        pytest.param("/acme/tiny/resolve/v1/tiny.gguf", None, 404, "RevisionNotFound", id="revision"),
        pytest.param("/acme/tiny/resolve/main/none.gguf", None, 404, "EntryNotFound", id="file"),
        pytest.param("/acme/tiny/resolve/main/../../secret.gguf", None, 404, "EntryNotFound", id="outside"),
        pytest.param("/acme/tiny/resolve/main/tiny.gguf", "bad", 401, None, id="bad-token"),
        pytest.param("/files/acme/tiny/../../secret.gguf", None, 404, None, id="plain-outside"),
        pytest.param("/files/acme", None, 404, None, id="plain-short"),
        pytest.param("/", None, 404, None, id="no-address-of-ours"),
    ],
)
def test_refusals_are_those_of_the_real_hub(hub, path, token, status, code):
    words = {"good": hub.faults.token, "bad": "hf_bad", None: None}[token]
    headers = {"Authorization": f"Bearer {words}"} if words else {}
    answer = ask(hub, path, **headers)
    assert (answer[0], answer[1]["X-Error-Code"]) == (status, code)


def test_a_gated_model_needs_the_token(hub):
    hub.faults.gated = ["acme/tiny"]
    status, headers, _body = ask(hub, "/acme/tiny/resolve/main/tiny.gguf", follow=False)
    assert (status, headers["X-Error-Code"]) == (401, "GatedRepo")
    authorization = {"Authorization": f"Bearer {hub.faults.token}"}
    assert ask(hub, "/acme/tiny/resolve/main/tiny.gguf", follow=False, **authorization)[0] == 302


def test_the_cdn_serves_signed_addresses_only(hub):
    assert ask(hub, "/cdn/acme/tiny/tiny.gguf", port=hub.cdn_port)[0] == 403
    assert ask(hub, "/cdn/acme/tiny/tiny.gguf?signature=valid", port=hub.cdn_port)[0] == 200


def test_faults_are_changed_and_figures_returned(hub):
    assert ask(hub, "/_control", "POST", json.dumps({"cut_after": 1000}).encode())[0] == 200
    with pytest.raises(Exception, match="IncompleteRead"):
        ask(hub, "/files/acme/tiny/tiny.gguf")
    figures = json.loads(ask(hub, "/_control")[2])
    assert (figures["served"]["bytes"], figures["faults"]["cut_after"]) == (1000, 0)
    assert figures["served"]["requests"] == ["GET /files/acme/tiny/tiny.gguf"]
    status, _headers, body = ask(hub, "/_control", "POST", b'{"nonsense": 1}')
    assert (status, body) == (400, b"unknown: nonsense")
    assert ask(hub, "/other", "POST", b"{}")[0] == 404


def test_a_wrong_hash_is_announced_on_demand(hub):
    hub.faults.wrong_hash = True
    _status, headers, _body = ask(hub, "/acme/tiny/resolve/main/tiny.gguf", "HEAD", follow=False)
    assert headers["X-Linked-ETag"] != f'"{hashlib.sha256(CONTENT).hexdigest()}"'


def test_the_hub_s_own_client_is_content(hub, tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    # As in model_download. The client reads the environment once, which another test may have made it do.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    client = huggingface_hub.HfApi(endpoint=hub.endpoint, token=False)
    info = client.model_info("acme/tiny", files_metadata=True)
    assert {one.rfilename: one.size for one in info.siblings} == {"README.md": 8, "tiny.gguf": len(CONTENT)}
    for file, content in (("tiny.gguf", CONTENT), ("README.md", b"read me\n")):
        path = client.hf_hub_download("acme/tiny", file, local_dir=tmp_path / "out", revision=info.sha)
        assert Path(path).read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--root", "/no/such/directory"], "/no/such/directory is not a directory", id="no-tree"),
        pytest.param(["--root", ".", "--tls-cert", "x.pem"], "--tls-cert and --tls-key belong together", id="no-key"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words, capsys):
    with pytest.raises(SystemExit):
        model_hub.arguments(arguments)
    assert words in capsys.readouterr().err
