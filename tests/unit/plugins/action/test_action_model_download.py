# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the action plugin as an operator does, on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.slm.copilot.plugins.action import model_download
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._model.download.job import download
from ansible_collections.slm.copilot.plugins.module_utils._model.download.wanted import Wanted

gguf = pytest.importorskip("gguf")
np = pytest.importorskip("numpy")

CHECKOUT = Path(__file__).resolve().parents[4]
MODULE = "slm.copilot.model_download"
MIB = 1 << 20
LINE = r"\[localhost\] tiny: downloading, \d+ % \(\d\.\d of 4\.2 MB, [\d.]+ [kM]B/s, about \d+ s left\)"
SECRET = "hf_a_token_that_nobody_may_see"

pytestmark = pytest.mark.skipif(not (CHECKOUT / ".collections").is_dir(), reason="needs a checkout")


model_hub = pytest.importorskip("model_hub")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("tree") / "acme" / "tiny" / "tiny.gguf"
    path.parent.mkdir(parents=True)
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in (
        (writer.add_context_length, 2048),
        (writer.add_embedding_length, 256),
        (writer.add_block_count, 1),
        (writer.add_head_count, 4),
        (writer.add_feed_forward_length, 512),
    ):
        add(value)
    writer.add_tensor("token_embd.weight", np.random.default_rng(1).random((4096, 256), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def hub(model):
    with model_hub.Hub(model.parents[2]) as running:
        yield running


@pytest.fixture
def host(tmp_path, hub):
    """A home of its own for Ansible on this machine, and the way to run the module there."""
    (tmp_path / "models").mkdir()
    return Host(tmp_path, hub)


class Host:
    def __init__(self, home, hub):
        self.home = home
        self.dest = home / "models" / "tiny.gguf"
        self.url = f"{hub.endpoint}/files/acme/tiny/tiny.gguf"

    def start(self, *options, stderr=subprocess.STDOUT, **parameters):
        arguments = {"name": "tiny", "dest": str(self.dest), **parameters}
        command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", MODULE, "-a", json.dumps(arguments)]
        command += ["-e", f"ansible_python_interpreter={sys.executable}", *options]
        environment = {**os.environ, "HOME": str(self.home), "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
        environment["ANSIBLE_NOCOLOR"] = "1"
        return subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )

    def run(self, *options, **parameters):
        """Returns what was on the terminal, and the result of the task."""
        output, _errors = self.start(*options, **parameters).communicate(timeout=60)
        return output, result_in(output)

    def progress(self):
        """Returns the newest figures of the running job."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for path in (self.home / ".ansible_async").glob("slm-copilot-progress-*"):
                if not path.name.endswith(".new"):
                    return json.loads(path.read_text())
            time.sleep(0.05)
        raise AssertionError("no job began")

    def files_left(self):
        return [path.name for path in (self.home / ".ansible_async").iterdir()]


def result_in(output):
    match = re.search(r"^localhost \| ([A-Z]+)!? => (\{.*\})", output, re.MULTILINE | re.DOTALL)
    assert match, output
    return {"failed": match[1] == "FAILED", **json.loads(match[2])}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_slow_download_shows_its_progress_and_hides_the_token(host, hub, model):
    hub.faults.bytes_per_second = MIB * 3 // 4
    output, result = host.run("-vvv", url=host.url, token=SECRET)
    assert re.search(LINE, output), output
    assert result["changed"] is True
    assert result["sha256"] == sha256(model) == sha256(host.dest)
    assert SECRET not in output
    assert "progress_file" not in result["invocation"]["module_args"]
    # As if the module had run directly:
    assert not {"ansible_job_id", "started", "finished", "results_file", "stdout", "stderr"} & set(result)
    assert host.files_left() == []

    output, again = host.run(url=host.url)
    assert again.pop("changed") is False
    assert again["sha256"] == result["sha256"]
    assert not re.search(LINE, output)


def test_standard_output_is_the_callbacks_alone(host, hub):
    """What a callback writes there is read by programs, as JSON."""
    hub.faults.bytes_per_second = MIB * 3 // 4
    output, errors = host.start(url=host.url, stderr=subprocess.PIPE).communicate(timeout=60)
    assert re.search(LINE, errors), errors
    assert not re.search(LINE, output)


def test_nor_does_a_copy_from_the_controller_write_there(capsys, monkeypatch):
    monkeypatch.setattr(model_download, "SECONDS_TO_FIRST_LINE", 0.0)
    model_download.Lines("tiny", "localhost").progress("copying from the controller", 1, 2)
    said = capsys.readouterr()
    assert (said.out, said.err.split(" (")[0]) == ("", "[localhost] tiny: copying from the controller, 50 %")


@pytest.mark.parametrize("options", [["-vvv"], ["-vvv", "--check"]], ids=["run", "check mode"])
def test_secrets_in_an_address_are_not_shown(host, options):
    url = host.url.replace("http://", "http://user:hidden-word@") + "?signature=hidden-word"
    output, result = host.run(*options, url=url)
    assert result["changed"] is True
    assert "hidden-word" not in output
    assert result["invocation"]["module_args"]["url"] == host.url
    if host.dest.exists():
        assert set(result["pin"]) == {"sha256", "size"}
        assert "hidden-word" not in (host.dest.parent / "tiny.gguf.json").read_text()


def test_an_address_that_cannot_be_read_is_not_shown(host):
    output, result = host.run("-vvv", url="https://user:hidden/word@localhost/tiny.gguf")
    assert result["failed"] is True and "its host or port cannot be read" in result["msg"]
    assert "hidden" not in output


def test_the_module_s_failure_is_the_task_s(host, hub):
    _output, result = host.run(url=f"{hub.endpoint}/files/acme/tiny/missing.gguf")
    assert result["failed"] is True
    assert result["msg"] == f"Not found: {hub.endpoint}/files/acme/tiny/missing.gguf answered 404. Check the address."
    assert host.files_left() == []


def test_check_mode_fetches_nothing(host, hub):
    _output, result = host.run("--check", url=host.url)
    assert (result["changed"], result["msg"]) == (True, "would fetch it")
    assert list(host.dest.parent.iterdir()) == []
    assert hub.served.requests == []


def test_a_killed_job_is_reported_and_the_next_run_goes_on(host, hub, model):
    hub.faults.bytes_per_second = MIB // 2
    running = host.start(url=host.url)
    os.kill(host.progress()["pid"], signal.SIGKILL)
    output, _errors = running.communicate(timeout=60)
    message = result_in(output)["msg"]
    assert message.startswith("tiny ended on the host without a result: somebody killed it")
    assert "Run the play again; it goes on where it stopped." in message
    hub.faults.bytes_per_second = 0
    _output, result = host.run(url=host.url)
    assert sha256(host.dest) == sha256(model)
    assert result["changed"] is True


def test_after_ctrl_c_the_job_goes_on_and_the_next_run_waits_for_it(host, hub, model):
    hub.faults.bytes_per_second = MIB // 16
    running = host.start(url=host.url)
    host.progress()
    os.killpg(running.pid, signal.SIGINT)
    running.communicate(timeout=60)
    assert not host.dest.exists()
    second, output = host.start(url=host.url), ""
    while not re.search(r"\[localhost\] tiny: waiting for another run that fetches it, \d+ % \(\d\.\d of 4\.2 MB", output):
        line = second.stdout.readline()
        assert line, output
        output += line
    hub.faults.bytes_per_second = 0
    result = result_in(output + second.communicate(timeout=60)[0])
    assert result["changed"] is False  # The other one did it.
    assert sha256(host.dest) == sha256(model)
    assert hub.served.bytes <= model.stat().st_size + 1


def test_a_file_of_the_controller_is_copied_once(host, model):
    _output, result = host.run(src=str(model))
    assert (result["changed"], result["source"]) == (True, "src")
    assert result["pin"] == {"sha256": sha256(model), "size": model.stat().st_size}
    assert "upload_from" not in result
    assert sha256(host.dest) == sha256(model)
    _output, again = host.run(src=str(model))
    assert again["changed"] is False


def test_a_model_in_parts_is_joined_on_the_host_while_the_controller_keeps_one_chunk(tmp_path, monkeypatch):
    whole = bytes(range(250))
    for number in range(3):
        (tmp_path / f"m.gguf.part-{number:03d}").write_bytes(whole[100 * number : 100 * number + 100])
    monkeypatch.setattr(model_download, "CHUNK", 30)
    monkeypatch.setattr(model_download, "BLOCK", 7)
    sent = []

    class Upload(model_download.ActionModule):
        def __init__(self):
            shell = SimpleNamespace(tmpdir="/tmp/host", join_path=os.path.join)
            self._connection = SimpleNamespace(_shell=shell)

        def _transfer_file(self, local_path, _remote_path):
            sent.append(Path(local_path).read_bytes())

        def _fixup_perms2(self, _remote_paths): ...

        def _low_level_execute_command(self, _cmd):
            return {"rc": 0}

    Upload()._upload(str(tmp_path / "m.gguf"), "/models/m.gguf", 90, len(whole), model_download.Lines("m", "host"))
    assert b"".join(sent) == whole[90:]
    assert max(map(len, sent)) < 30 + 7


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            {"stdout": "4096000\n", "stderr": "cat: write error: No space left on device\n"},
            "No space left on device. 2.50 GB are missing. /models has 0.00 GB left. Free some space, and run again",
        ),
        ({"stdout": "", "stderr": "Read-only file system"}, "on the host: Read-only file system. 2.50 GB are missing. Free"),
    ],
    ids=["full", "read-only"],
)
def test_a_disk_that_fills_while_a_model_is_copied_is_told_with_figures(answer, told):
    assert told in model_download.ActionModule._not_written("/models/m.gguf", answer, 2_500_000_000)


def test_a_copy_that_was_cut_goes_on(host, model):
    stat = model.stat()
    wanted = Wanted(str(host.dest), src="x", sha256=sha256(model), src_size=stat.st_size, src_mtime_ns=stat.st_mtime_ns)
    assert download(wanted, ProgressFile(None))["upload_from"] == 0
    Path(wanted.partial).write_bytes(model.read_bytes()[:MIB])
    _output, result = host.run(src=str(model))
    assert (result["changed"], result["resumed_from"]) == (True, MIB)
    assert sha256(host.dest) == sha256(model)


def test_a_wrong_checksum_of_a_copy_keeps_what_was_there(host, model):
    host.dest.write_bytes(b"the old model")
    _output, result = host.run(src=str(model), sha256="0" * 64)
    assert "does not match" in result["msg"]
    assert host.dest.read_bytes() == b"the old model"


def test_a_missing_file_of_the_controller_is_named(host):
    _output, result = host.run(src="/no/such/model.gguf")
    assert "src: there is no file /no/such/model.gguf on the controller" in result["msg"]
