# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the real download code against a hub of our own, over real connections."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
import multiprocessing
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.download import job as _job
from ansible_collections.slm.copilot.plugins.module_utils._model.download import transfer as _transfer
from ansible_collections.slm.copilot.plugins.module_utils._model.download.hub import HubSource
from ansible_collections.slm.copilot.plugins.module_utils._model.download.job import Download, download, hash_file, only_run
from ansible_collections.slm.copilot.plugins.module_utils._model.download.transfer import (
    Interrupted,
    Sink,
    raise_if_busy,
    seconds_to_wait,
    status_text,
    transfer,
)
from ansible_collections.slm.copilot.plugins.module_utils._model.download.url import UrlSource
from ansible_collections.slm.copilot.plugins.module_utils._model.download.wanted import (
    Offer,
    Wanted,
    check_wanted,
    identity,
    is_what_is_wanted,
    read_json,
    recorded,
)

gguf = pytest.importorskip("gguf")
np = pytest.importorskip("numpy")

CHECKOUT = Path(__file__).resolve().parents[5]
SILENT = ProgressFile(None)
MIB = 1 << 20
REPO, FILE = "acme/tiny-model", "tiny-Q4_K_M.gguf"


model_hub = pytest.importorskip("model_hub")


def write_model(path, seed=1, mib=4):
    """Writes a small model that is valid GGUF and does not compress."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(2048)
    writer.add_embedding_length(256)
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_feed_forward_length(512)
    noise = np.random.default_rng(seed).random((mib * 1024, 256), dtype=np.float32)
    writer.add_tensor("token_embd.weight", noise)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("tree") / REPO / FILE)


@pytest.fixture(scope="module")
def running_hub(model):
    root = model.parents[2]
    (model.parent / "short.gguf").write_bytes(model.read_bytes()[:-5000])
    (model.parent / "page.gguf").write_bytes(b"<html>Please log in</html>")
    with model_hub.Hub(root) as hub:
        yield hub


@pytest.fixture
def hub(running_hub):
    running_hub.faults = model_hub.Faults()
    running_hub.served = model_hub.Served()
    return running_hub


@pytest.fixture
def dest(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models" / FILE


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    """The hub's client reads the environment, and HubSource sets it."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def from_hub(hub, dest, **more):
    pytest.importorskip("huggingface_hub")
    return Wanted(**{"dest": str(dest), "repo": REPO, "file": FILE, "endpoint": hub.endpoint, **more})


def from_url(hub, dest, file=FILE, **more):
    return Wanted(**{"dest": str(dest), "url": f"{hub.endpoint}/files/{REPO}/{file}", **more})


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def leftovers(dest):
    return sorted(path.name.removeprefix(dest.name) for path in dest.parent.iterdir())


@pytest.fixture(params=["hub", "url"])
def ask(request, hub, dest):
    """Makes a request for the model, from either kind of source."""
    make = {"hub": from_hub, "url": from_url}[request.param]
    return lambda **more: make(hub, dest, **more)


# What both kinds of source do


def test_a_fresh_file_is_whole_and_recorded(hub, ask, dest, model):
    result = download(ask(), SILENT)
    assert result["changed"] is True
    assert result["resumed_from"] == 0
    assert (result["sha256"], result["size"]) == (sha256(model), model.stat().st_size)
    assert dest.read_bytes() == model.read_bytes()
    assert (result["gguf"]["architecture"], result["gguf"]["path"]) == ("llama", str(dest))
    assert leftovers(dest) == ["", ".json", ".lock"]


def test_what_the_hub_offers_beside_plain_https_is_not_used(hub, dest, model):
    """There are more hosts on that way, and proxies that let none of them through."""
    download(from_hub(hub, dest), SILENT)
    assert os.environ["HF_HUB_DISABLE_XET"] == "1"
    assert hub.served.bytes >= model.stat().st_size


def test_a_second_run_uses_neither_the_network_nor_the_bytes(hub, ask, dest, monkeypatch):
    download(ask(), SILENT)
    hub.served = model_hub.Served()
    monkeypatch.setattr(_job, "hash_file", None)
    result = download(ask(), SILENT)
    assert (result["changed"], result["msg"]) == (False, "already there")
    assert hub.served.requests == []


def test_a_cut_is_mended_in_the_same_run(hub, ask, dest, model):
    hub.faults.cut_after = 2 * MIB
    result = download(ask(), SILENT)
    size = model.stat().st_size
    assert sha256(dest) == sha256(model) == result["sha256"]
    assert hub.served.bytes <= size + 1  # Nothing came twice; one byte is the look before.
    assert any(f"bytes={2 * MIB}-" in request for request in hub.served.requests)


@pytest.fixture
def slept(monkeypatch):
    """How long the code would have waited."""
    seconds = []
    monkeypatch.setattr(_transfer.time, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("first", [0, 1], ids=["when asked for the size", "when asked for the bytes"])
def test_a_busy_server_is_asked_again(hub, ask, dest, model, monkeypatch, slept, status, first):
    hub.faults.refusals = [0] * first + [status, status]
    result = download(ask(), SILENT)
    assert (result["changed"], sha256(dest)) == (True, sha256(model))
    assert hub.faults.refusals == []


def test_a_server_says_how_long_it_is_busy(hub, dest, slept):
    hub.faults.refusals, hub.faults.retry_after = [503, 429], "77"
    download(from_url(hub, dest), SILENT)
    assert len(slept) == 2 and all(77 <= seconds <= 77 * 1.25 for seconds in slept)
    assert slept[0] != slept[1], "a fleet's hosts must not all come back at once"


def test_patience_with_a_busy_server_ends(hub, ask, dest, slept):
    hub.faults.refusals = [503] * 200
    with pytest.raises(CopilotError, match=r"answered 503, again and again: try again later"):
        download(ask(), SILENT)
    assert 60 < sum(slept) < 3600


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        pytest.param("5", 5, 5, id="seconds"),
        pytest.param(formatdate(time.time() + 1000, usegmt=True), 800, 1001, id="date"),
        pytest.param(formatdate(time.time() - 100, usegmt=True), 0, 0, id="date in the past"),
        pytest.param("soon", None, None, id="nonsense"),
        pytest.param(None, None, None, id="nothing"),
    ],
)
def test_how_long_a_server_asks_to_wait(text, low, high):
    with pytest.raises(Interrupted, match="the hub answered 503") as error:
        raise_if_busy(503, "the hub", text)
    assert error.value.busy
    assert error.value.pause is None if low is None else low <= error.value.pause <= high
    raise_if_busy(404, "the hub", text)


def test_a_wait_is_never_longer_than_ten_minutes():
    assert seconds_to_wait(1, Interrupted("x", True, 86400.0)) <= 600 * 1.25


@pytest.mark.parametrize("rest", ["", "cut", "part of an earlier run"])
def test_a_server_that_does_not_know_the_size_of_the_whole(hub, dest, model, slept, rest):
    hub.faults.no_total = True
    if rest == "cut":
        hub.faults.cut_after = MIB
    elif rest:
        wanted = from_url(hub, dest)
        hub.faults.cut_after = MIB
        with pytest.raises(KeyboardInterrupt):
            Download(wanted, StopAt(MIB)).run()
        hub.faults.no_total = True
    assert download(from_url(hub, dest), SILENT)["size"] == model.stat().st_size
    assert sha256(dest) == sha256(model)


class StopAt:
    """Progress that ends the run when so many bytes have come."""

    def __init__(self, size):
        self.size = size

    def update(self, phase, done, total, unit):
        if phase == "downloading" and done >= self.size:
            raise KeyboardInterrupt


def test_a_type_that_we_do_not_know_is_fetched_once(hub, ask, dest, model, monkeypatch):
    """Another version may know it, and fetching it again would bring the same bytes."""
    with monkeypatch.context() as patch:
        patch.delitem(_gguf.TENSOR_TYPES, 0)
        for _run in range(2):
            with pytest.raises(CopilotError, match=r"of type 0, .* stays as .*\.partial, so that it need not be fetched again"):
                download(ask(), SILENT)
            assert not dest.exists()
    served = hub.served.bytes
    assert served < model.stat().st_size * 1.1
    assert download(ask(), SILENT)["changed"] is True
    assert sha256(dest) == sha256(model)
    assert hub.served.bytes - served < 1000, "nothing but a look at the first byte"


@pytest.mark.parametrize("where", ["repo", "url", "src"])
def test_a_part_of_a_model_is_refused_by_its_name(where):
    name = "Q4/coder-Q4_K_M-00001-of-00003.gguf"
    source = {"repo": {"repo": "a/b", "file": name}, "url": {"url": f"https://a/{name}?x"}, "src": {"src": f"/m/{name}"}}[where]
    with pytest.raises(CopilotError, match=r"coder-Q4_K_M-00001-of-00003.gguf: it is part 1 of 3 of a model.*--merge"):
        check_wanted(Wanted("/models/m.gguf", **source))


def run_download(wanted, progress_path):
    download(wanted, ProgressFile(progress_path))


def start(wanted, progress_path=None):
    process = multiprocessing.get_context("fork").Process(target=run_download, args=(wanted, progress_path))
    process.start()
    return process


def wait_until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_after_kill_9_the_next_run_goes_on(hub, ask, dest, model):
    hub.faults.bytes_per_second = MIB
    process = start(ask())
    wait_until(lambda: Path(f"{dest}.partial").exists() and Path(f"{dest}.partial").stat().st_size > MIB)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    left = Path(f"{dest}.partial").stat().st_size
    assert not dest.exists()
    wait_until(lambda: threading.active_count() < 50)
    hub.faults.bytes_per_second = 0
    time.sleep(0.3)  # The server notices that nobody listens any more.
    hub.served = model_hub.Served()
    result = download(ask(), SILENT)
    size = model.stat().st_size
    assert result["resumed_from"] == left
    assert size - left <= hub.served.bytes <= size - left + 1
    assert sha256(dest) == sha256(model)


def test_two_runs_at_once_fetch_it_once(hub, ask, dest, model, tmp_path):
    hub.faults.bytes_per_second = 2 * MIB
    first = start(ask())
    wait_until(lambda: Path(f"{dest}.partial").exists() and Path(f"{dest}.partial").stat().st_size > 0)
    second = start(ask(), str(tmp_path / "progress"))
    wait_until((tmp_path / "progress").exists)
    figures = json.loads((tmp_path / "progress").read_text())
    assert figures["phase"] == "waiting for another run that fetches it"
    assert (figures["done"] > 0, figures["total"]) == (True, model.stat().st_size)
    first.join()
    second.join()
    assert (first.exitcode, second.exitcode) == (0, 0)
    assert hub.served.bytes <= model.stat().st_size + 1
    assert sha256(dest) == sha256(model)


def test_a_wrong_checksum_keeps_what_was_there(ask, dest):
    dest.write_bytes(b"the old model")
    with pytest.raises(CopilotError, match=r"checksum of .* does not match: sha256 0{64} was expected"):
        download(ask(sha256="0" * 64), SILENT)
    assert dest.read_bytes() == b"the old model"
    assert ".partial" not in leftovers(dest)


def test_a_disk_that_is_too_small_is_refused_before_the_download(hub, ask, dest):
    with pytest.raises(CopilotError) as error:
        download(ask(min_free=1 << 60), SILENT)
    assert re.search(
        r"disk is too small for .*gguf: 0\.00 GB are still to come, and \d+\.\d\d GB \(min_free_mib\) must stay free, "
        r"but .*/models has \d+\.\d\d GB\. Free some space",
        str(error.value),
    )
    assert hub.served.bytes <= 1
    assert not dest.exists()


def test_a_full_disk_is_said_in_words(ask, monkeypatch):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Sink, "write", no_space)
    with pytest.raises(CopilotError, match=r"it was full after 0 bytes. Free some space. Run again: it goes on"):
        download(ask(), SILENT)


@pytest.mark.parametrize(
    ("file", "words"),
    [pytest.param("short.gguf", "truncated", id="truncated"), pytest.param("page.gguf", "GGUF", id="not-a-model")],
)
def test_a_broken_model_is_refused(hub, dest, file, words):
    dest.write_bytes(b"the old model")
    with pytest.raises(CopilotError, match=words):
        download(from_url(hub, dest, file), SILENT)
    assert dest.read_bytes() == b"the old model"
    assert leftovers(dest) == ["", ".lock"]


def test_a_file_without_record_is_verified_once_and_kept(hub, ask, dest, model):
    dest.write_bytes(model.read_bytes())
    result = download(ask(sha256=sha256(model)), SILENT)
    assert (result["changed"], result["msg"]) == (True, "verified the file that was there")
    assert hub.served.bytes == 0
    assert download(ask(sha256=sha256(model)), SILENT)["changed"] is False


def test_a_file_that_was_touched_is_verified_again(hub, ask, dest, model):
    download(ask(sha256=sha256(model)), SILENT)
    dest.write_bytes(b"x" + model.read_bytes()[1:])
    hub.served = model_hub.Served()
    result = download(ask(sha256=sha256(model)), SILENT)
    assert (result["changed"], sha256(dest)) == (True, sha256(model))
    assert hub.served.bytes >= model.stat().st_size


def test_a_bad_part_of_an_earlier_run_is_fetched_again(ask, dest, model):
    wanted = ask(sha256=sha256(model))
    source = HubSource(wanted) if wanted.repo else UrlSource(wanted)
    offer = source.offer()
    Path(f"{dest}.partial").write_bytes(b"\0" * MIB)  # As after a power cut.
    becomes = {"sha256": wanted.sha256, "etag": offer.etag, "size": offer.size}
    Path(f"{dest}.partial.json").write_text(json.dumps(becomes))
    result = download(wanted, SILENT)
    assert (result["resumed_from"], sha256(dest)) == (0, sha256(model))


def test_a_part_of_another_file_is_not_gone_on_with(ask, dest, model):
    Path(f"{dest}.partial").write_bytes(b"\0" * MIB)
    Path(f"{dest}.partial.json").write_text('{"sha256": null, "etag": "other", "size": 5}')
    assert download(ask(), SILENT)["resumed_from"] == 0
    assert sha256(dest) == sha256(model)


def test_a_part_that_is_complete_is_only_verified(hub, ask, dest, model):
    wanted = ask(sha256=sha256(model))
    offer = (HubSource(wanted) if wanted.repo else UrlSource(wanted)).offer()
    Path(f"{dest}.partial").write_bytes(model.read_bytes())
    becomes = {"sha256": wanted.sha256, "etag": offer.etag, "size": offer.size}
    Path(f"{dest}.partial.json").write_text(json.dumps(becomes))
    hub.served = model_hub.Served()
    assert download(wanted, SILENT)["resumed_from"] == model.stat().st_size
    assert hub.served.bytes <= 2, "a byte for each look at what there is"


# The hub


def test_the_hub_s_commit_and_checksum_are_recorded(hub, dest, model):
    result = download(from_hub(hub, dest), SILENT)
    assert result["revision"] == hub.commit(model.parent)
    assert result["etag"] == result["sha256"] == sha256(model)
    assert hub.served.requests == [
        f"HEAD /{REPO}/resolve/main/{FILE}",
        f"GET /{REPO}/resolve/{result['revision']}/{FILE}",
        f"GET /cdn/{REPO}/{FILE}",
    ]
    assert set(hub.served.user_agents) == {"slm.copilot"}
    pinned = from_hub(hub, dest, revision=result["revision"])
    assert download(pinned, SILENT)["changed"] is False


def test_a_checksum_that_the_hub_does_not_have_is_refused_before_the_download(hub, dest):
    with pytest.raises(CopilotError, match=r"and the hub has .*Check sha256 and revision. Nothing was fetched."):
        download(from_hub(hub, dest, sha256="0" * 64), SILENT)
    assert hub.served.bytes == 0


def test_bytes_that_are_not_what_the_hub_announced_are_refused(hub, dest):
    hub.faults.wrong_hash = True
    with pytest.raises(CopilotError, match=r"checksum of .* does not match"):
        download(from_hub(hub, dest), SILENT)
    assert leftovers(dest) == [".lock"]


def test_a_file_without_record_is_compared_with_the_hub_s_checksum(hub, dest, model):
    dest.write_bytes(model.read_bytes())
    assert download(from_hub(hub, dest), SILENT)["msg"] == "verified the file that was there"
    assert hub.served.bytes == 0


@pytest.mark.parametrize(
    ("request_", "faults", "text"),
    [
        pytest.param({"repo": "acme/missing"}, {}, "Not found: http.* has no repo acme/missing, or it is", id="repo"),
        pytest.param({"file": "no.gguf"}, {}, "no file 'no.gguf' at revision 'main': check file", id="file"),
        pytest.param({"revision": "v9"}, {}, "has no revision 'v9': check revision", id="revision"),
        pytest.param({"repo": "acme/a--b"}, {}, "repo is 'acme/a--b', which the hub's client refuses", id="name"),
        pytest.param({}, {"gated": [REPO]}, "Not authorised: repo .* is gated: accept .* and give a token", id="gated"),
        pytest.param({"token": "hf_wrong"}, {"gated": [REPO]}, "Not authorised: .*401. Check the token", id="token"),
        pytest.param(
            {"endpoint": "http://127.0.0.1:9"},
            {},
            "The hub is not reachable: http://127.0.0.1:9: .*refused.* check the address, the network",
            id="unreachable",
        ),
    ],
)
def test_the_hub_s_refusal_is_put_into_words(hub, dest, request_, faults, text):
    for name, value in faults.items():
        setattr(hub.faults, name, value)
    with pytest.raises(CopilotError, match=text) as error:
        download(from_hub(hub, dest, **request_), SILENT)
    assert "hf_wrong" not in str(error.value)
    assert not dest.exists()


def test_a_server_that_is_no_hub_is_said_to_be_none(hub, dest, monkeypatch):
    wanted = from_hub(hub, dest)
    monkeypatch.setattr(model_hub.Hub, "commit", lambda *_: "")
    with pytest.raises(CopilotError, match="answers, but not as a model hub does: check endpoint"):
        download(wanted, SILENT)


def test_the_token_opens_a_gated_model_and_stays_with_the_hub(hub, dest, model):
    hub.faults.gated = [REPO]
    download(from_hub(hub, dest, token=hub.faults.token), SILENT)
    assert sha256(dest) == sha256(model)
    assert hub.served.authorized_cdn_requests == 0
    assert hub.faults.token not in Path(f"{dest}.json").read_text()


def test_a_python_without_the_client_is_told_where_it_is(hub, dest, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    wanted = Wanted(dest=str(dest), repo=REPO, file=FILE, endpoint=hub.endpoint)
    with pytest.raises(CopilotError, match=r"needs huggingface_hub.*Use the role model_fetch"):
        download(wanted, SILENT)


# Addresses


@pytest.mark.parametrize(
    ("file", "text"),
    [pytest.param("no.gguf", r"Not found: http.*/no\.gguf answered 404. Check the address", id="missing")],
)
def test_the_server_s_refusal_is_put_into_words(hub, dest, file, text):
    with pytest.raises(CopilotError, match=text):
        download(from_url(hub, dest, file), SILENT)


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "Not authorised: here answered 401"), (403, "Not auth"), (404, "Not found"), (503, "503: try again later")],
)
def test_a_status_is_put_into_words(status, text):
    assert status_text(status, "here").startswith(text) or text in status_text(status, "here")


def test_a_server_that_is_not_there_is_not_reachable(dest):
    wanted = Wanted(dest=str(dest), url="http://user:secret@127.0.0.1:9/m.gguf?token=secret")
    with pytest.raises(CopilotError, match=r"The server is not reachable: http://127.0.0.1:9/m.gguf: ") as error:
        download(wanted, SILENT)
    assert "secret" not in str(error.value)


class Asked(BaseHTTPRequestHandler):
    """Serves one file to whoever gives the password, and redirects where it is told to."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Authorization"]))
        password = "Basic " + base64.b64encode(b"user:s/ecret").decode()
        redirected = self.path.startswith("/from")
        self.send_response(302 if redirected else 200 if self.headers["Authorization"] in (password, None) else 401)
        if redirected:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0" if redirected else "3")
        self.end_headers()
        self.wfile.write(b"" if redirected else b"abc")

    def log_message(self, *_args):
        pass


@pytest.fixture
def asked():
    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        server.asked, server.location = [], ""
        server.place = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def test_a_password_in_an_address_opens_the_server_and_stays_with_it(asked, dest):
    asked.location = f"http://localhost:{asked.server_port}/elsewhere"
    url = f"http://user:s%2Fecret@{asked.place}/from?sig=secret"
    result = download(Wanted(dest=str(dest), url=url, verify_gguf=False), SILENT)
    assert dest.read_bytes() == b"abc"
    assert dict(asked.asked) == {"/from?sig=secret": "Basic " + base64.b64encode(b"user:s/ecret").decode(), "/elsewhere": None}
    assert "secret" not in json.dumps({name: value for name, value in result.items() if name != "sha256"})


def test_an_address_outside_ascii_is_sent_as_a_browser_would(asked, dest):
    url = f"http://{asked.place}/modèle%20grand.gguf?clé=a"
    download(Wanted(dest=str(dest), url=url, verify_gguf=False), SILENT)
    assert {path for path, _authorization in asked.asked} == {"/mod%C3%A8le%20grand.gguf?cl%C3%A9=a"}


@pytest.mark.parametrize("location", ["http://[::1/?sig=secret", "http://u:secret@h:secret/"])
def test_a_redirect_to_nowhere_shows_no_secret(asked, dest, location):
    asked.location = location
    with pytest.raises(CopilotError, match=f"http://{asked.place}/from") as error:
        download(Wanted(dest=str(dest), url=f"http://{asked.place}/from"), SILENT)
    assert "secret" not in str(error.value)


class Simple:
    """A web server that knows nothing of ranges: each connection gets the next of the given bodies."""

    def __init__(self, bodies):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/model.gguf"
        threading.Thread(target=self.serve, args=(bodies,), daemon=True).start()

    def serve(self, bodies):
        for length, body in bodies:
            connection, _address = self.socket.accept()
            with connection:
                connection.recv(65536)
                header = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                connection.sendall(header.encode() + body)


def test_a_server_without_ranges_is_asked_again_from_the_start(dest, monkeypatch):
    monkeypatch.setattr(_transfer.time, "sleep", lambda _: None)
    body = b"0123456789"
    server = Simple([(10, body), (10, body[:4]), (10, body)])
    result = download(Wanted(dest=str(dest), url=server.url, verify_gguf=False), SILENT)
    assert dest.read_bytes() == body
    assert result["gguf"] is None


def test_a_connection_that_does_not_come_back_leaves_the_part(dest, monkeypatch):
    monkeypatch.setattr(_transfer.time, "sleep", lambda _: None)
    server = Simple([(10, b"")] + [(10, b"0123")] * 20)
    with pytest.raises(CopilotError, match=r"cut at 4 of 10 bytes and did not come back: .*Run again: it goes on"):
        download(Wanted(dest=str(dest), url=server.url, sha256="0" * 64, verify_gguf=False), SILENT)
    assert ".partial" in leftovers(dest)


@pytest.fixture
def own_ca(tmp_path):
    """A certificate for 127.0.0.1 that signs itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test hub")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    key_pem = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(encoding))
    (tmp_path / "key.pem").write_bytes(key_pem)
    return SimpleNamespace(cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))


@pytest.mark.parametrize("make", [from_hub, from_url], ids=["hub", "url"])
def test_certificates_are_verified_against_the_given_ca(model, dest, own_ca, make):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own_ca.cert, own_ca.key)
    with model_hub.Hub(model.parents[2], tls=context) as hub:
        close_clients()
        with pytest.raises(CopilotError, match=r"not reachable: https.*give the CA that signed its certificate"):
            download(make(hub, dest), SILENT)
        close_clients()
        download(make(hub, dest, ca_path=own_ca.cert), SILENT)
        close_clients()
    assert sha256(dest) == sha256(model)


def close_clients():
    """The hub's client keeps its TLS settings for the life of a process, which a module's is one task."""
    if "huggingface_hub" in sys.modules:
        sys.modules["huggingface_hub.utils"].close_session()


@pytest.mark.parametrize("source", [{"url": "https://127.0.0.1/m"}, {"repo": REPO, "file": FILE}], ids=["url", "hub"])
def test_a_ca_that_cannot_be_read_is_named(dest, source):
    if "repo" in source:
        pytest.importorskip("huggingface_hub")
    with pytest.raises(CopilotError, match=r"ca_path .* is /no/ca.pem: it cannot be used"):
        download(Wanted(dest=str(dest), ca_path="/no/ca.pem", **source), SILENT)


# Files of the controller


def from_controller(dest, model, **more):
    stat = model.stat()
    more = {"sha256": sha256(model), "src_size": stat.st_size, "src_mtime_ns": stat.st_mtime_ns, **more}
    return Wanted(dest=str(dest), src=str(model), **more)


def test_a_file_of_the_controller_is_asked_for_until_it_is_complete(dest, model):
    wanted = from_controller(dest, model)
    assert download(wanted, SILENT) == {"changed": True, "upload_from": 0}
    content = model.read_bytes()
    Path(wanted.partial).write_bytes(content[:1000])
    assert download(wanted, SILENT)["upload_from"] == 1000
    Path(wanted.partial).write_bytes(content)
    assert download(wanted, SILENT)["msg"] == "fetched and verified"
    assert sha256(dest) == wanted.sha256
    assert recorded(from_controller(dest, model, sha256=None))


def test_the_same_file_with_another_time_is_known_from_then_on(dest, model):
    wanted = from_controller(dest, model)
    download(wanted, SILENT)
    Path(wanted.partial).write_bytes(model.read_bytes())
    download(wanted, SILENT)
    touched = from_controller(dest, model, src_mtime_ns=5)
    assert recorded(from_controller(dest, model, src_mtime_ns=5, sha256=None)) is None
    assert download(touched, SILENT)["changed"] is False
    assert recorded(from_controller(dest, model, src_mtime_ns=5, sha256=None))


def test_a_copy_with_other_bytes_is_thrown_away(dest, model):
    wanted = from_controller(dest, model)
    download(wanted, SILENT)
    Path(wanted.partial).write_bytes(b"\0" * model.stat().st_size)
    with pytest.raises(CopilotError, match=r"checksum of .* does not match"):
        download(wanted, SILENT)
    assert leftovers(dest) == [".lock"]


# Decisions


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        pytest.param({"dest": "model.gguf"}, "dest is 'model.gguf': give the absolute path", id="relative-dest"),
        pytest.param({"dest": "/models/"}, "dest is '/models/': give", id="directory"),
        pytest.param({"sha256": "abc"}, "sha256 has 3 characters and is no checksum", id="short-checksum"),
        pytest.param({"repo": "tiny"}, "repo is 'tiny': give owner/name", id="repo-without-owner"),
        pytest.param({"repo": "a/b", "file": "../x"}, "file is '../x': give the path of a file inside", id="file-outside"),
        pytest.param({"repo": "a/b", "file": "/etc/x"}, "file is '/etc/x'", id="file-from-the-root"),
        pytest.param({"url": "ftp://a:secret@b/c"}, "url has 18 characters, and it does not begin with http", id="ftp"),
        pytest.param({"url": "https://b/c?key=secret x"}, "and it has a space", id="space-in-the-query"),
        pytest.param({"url": "https://b:secret/c"}, "its host or port cannot be read", id="port-that-is-none"),
        pytest.param({"url": "https://a:s/ecret:secret@b/c"}, "in a password write %2F for /", id="slash-in-the-password"),
        pytest.param({"url": "http://[::1/secret"}, "its host or port cannot be read", id="half-an-ipv6-address"),
        pytest.param({"url": "http://münchen.example/m.gguf"}, "write the name that begins with xn--", id="umlaut-in-the-host"),
        pytest.param(
            {"endpoint": "hub.example.com"}, "endpoint has 15 characters, and it does not begin", id="endpoint-without-http"
        ),
        pytest.param({"endpoint": "https://a:secret@hub"}, "give it as token", id="endpoint-with-a-password"),
    ],
)
def test_what_cannot_work_is_refused(parameters, text):
    with pytest.raises(CopilotError, match=re.escape(text)) as error:
        check_wanted(Wanted(**{"dest": "/models/m.gguf", **parameters}))
    assert "secret" not in str(error.value)


def test_what_can_work_is_not_refused():
    check_wanted(Wanted("/m.gguf", repo="a/b", file="c/d.gguf", sha256="0" * 64, endpoint="https://hub.example.com"))
    check_wanted(Wanted("/m.gguf", url="https://example.com/m.gguf"))


HUB_RECORD = {
    "source": "hub",
    "repo": "a/b",
    "file": "c",
    "requested_revision": "main",
    "revision": "f" * 40,
    "sha256": "1" * 64,
}


@pytest.mark.parametrize(
    ("wanted", "answers"),
    [
        pytest.param({"repo": "a/b", "file": "c"}, True, id="same-branch"),
        pytest.param({"repo": "a/b", "file": "c", "revision": "f" * 40}, True, id="its-commit"),
        pytest.param({"repo": "a/b", "file": "c", "revision": "e" * 40}, False, id="another-commit"),
        pytest.param({"repo": "a/b", "file": "c", "endpoint": "https://mirror"}, True, id="another-mirror"),
        pytest.param({"repo": "a/x", "file": "c"}, False, id="another-repo"),
        pytest.param({"repo": "a/b", "file": "x"}, False, id="another-file"),
        pytest.param({"repo": "a/x", "file": "c", "sha256": "1" * 64}, True, id="the-checksum-decides"),
        pytest.param({"repo": "a/b", "file": "c", "sha256": "2" * 64}, False, id="another-checksum"),
        pytest.param({"url": "https://a/b"}, False, id="another-kind-of-source"),
    ],
)
def test_a_record_answers_a_request(wanted, answers):
    assert is_what_is_wanted(HUB_RECORD, Wanted(dest="/m", **wanted)) is answers


def test_addresses_that_differ_in_their_query_are_different():
    first, second = (Wanted(dest="/m", url=f"https://a/b?id={number}") for number in (1, 2))
    assert is_what_is_wanted(identity(first), first)
    assert not is_what_is_wanted(identity(first), second)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 0}'], ids=["empty", "half", "not-a-mapping", "another-format"])
def test_a_record_that_makes_no_sense_is_none(tmp_path, content):
    (tmp_path / "m").write_bytes(b"GGUF")
    (tmp_path / "m.json").write_text(content)
    assert recorded(Wanted(dest=str(tmp_path / "m"), url="https://a/b")) is None
    assert recorded(Wanted(dest=str(tmp_path / "other"), url="https://a/b")) is None


def test_a_record_without_a_check_of_the_structure_is_not_enough(hub, dest):
    download(from_url(hub, dest, verify_gguf=False), SILENT)
    assert recorded(from_url(hub, dest, verify_gguf=False))
    assert recorded(from_url(hub, dest)) is None


def test_the_lock_is_waited_for_only_so_long(dest):
    wanted = Wanted(dest=str(dest), url="https://a/b", lock_timeout=0)
    with (
        only_run(wanted, SILENT),
        pytest.raises(CopilotError, match=r"Another run is still fetching .* after 0 seconds \(lock_timeout\)"),
        only_run(wanted, SILENT),
    ):
        pytest.fail("two runs hold the lock")


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(CopilotError, match=r"cannot write to .*/no \(No such file or directory\): make the directory"):
        download(Wanted(dest=str(tmp_path / "no" / "m"), url="https://a/b"), SILENT)


def test_patience_begins_anew_with_each_byte(tmp_path, monkeypatch):
    sink = Sink(str(tmp_path / "p"), 100, SILENT)
    outcomes = [b"", b"", b"", b"", b"1", b"", b"", b"", b"", b"2", None]
    slept = []
    monkeypatch.setattr(_transfer.time, "sleep", slept.append)

    def fetch(sink, offer):
        outcome = outcomes.pop(0)
        if outcome is not None:
            sink.write(outcome)
            raise Interrupted("cut")

    transfer(fetch, sink, Offer(100), SILENT)
    assert outcomes == []
    assert (max(slept), sink.size) == (8, 2)


def test_patience_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(_transfer.time, "sleep", lambda _: None)

    def fetch(sink, offer):
        raise Interrupted("cut")

    with pytest.raises(CopilotError, match=r"cut at 0 of 100 bytes and did not come back: cut. Run again"):
        transfer(fetch, Sink(str(tmp_path / "p"), 100, SILENT), Offer(100), SILENT)


def test_a_sink_hashes_what_was_there_and_what_comes(tmp_path):
    path = tmp_path / "p"
    path.write_bytes(b"abc")
    sink = Sink(str(path), 6, SILENT)
    assert (sink.resumed_from, sink.tell()) == (3, 3)
    sink.write(b"def")
    assert sink.close() == hashlib.sha256(b"abcdef").hexdigest() == hash_file(str(path), SILENT)


def test_a_sink_starts_over_when_the_server_sends_everything(tmp_path):
    path = tmp_path / "p"
    path.write_bytes(b"abc")
    sink = Sink(str(path), 6, SILENT)
    sink.seek(0)  # What the hub's client does then.
    assert sink.truncate() == 0
    with pytest.raises(ValueError, match="cannot go to byte 2"):
        sink.seek(2)
    sink.write(b"xyz")
    assert sink.close() == hashlib.sha256(b"xyz").hexdigest()
    assert (path.read_bytes(), sink.resumed_from) == (b"xyz", 0)


def test_nonsense_is_no_mapping(tmp_path):
    assert read_json(str(tmp_path / "missing")) == {}
