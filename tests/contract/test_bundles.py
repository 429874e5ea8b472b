# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small bundles, made of real packages and wheels by the modules: for foreign architectures too, updated, in parts, damaged."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._bundle import manifest
from ansible_collections.slm.copilot.plugins.module_utils._bundle.targets import TARGETS
from ansible_collections.slm.copilot.plugins.module_utils._common.files import sha256_of
from ansible_collections.slm.copilot.plugins.module_utils._engine.build import build_plan
from ansible_collections.slm.copilot.plugins.module_utils._engine.release import pack
from gateway_rig import RUN_MODULE
from rig import CHECKOUT

pytestmark = pytest.mark.skipif(not shutil.which("gpg"), reason="needs gnupg")
NAMES = (f"{platform.freedesktop_os_release()['VERSION_CODENAME']}-amd64", "trixie-arm64")  # the first is this machine's
RELEASE = TARGETS[NAMES[0]].release
SOURCE = {"kind": "pypi", "version": "1.0", "sha256": "0" * 64}


def start(name: str, arguments: dict[str, Any], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts a module, in a process group of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_MODULE, CHECKOUT / ".collections", name],
        env=os.environ | (environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({key: str(value) if isinstance(value, Path) else value for key, value in arguments.items()}))
    process.stdin.close()
    process.stdin = None  # so that communicate does not close it again
    return process


def run(name: str, arguments: dict[str, Any], environment: dict[str, str] | None = None) -> dict[str, Any]:
    said, errors = start(name, arguments, environment).communicate()
    assert said, errors
    result: dict[str, Any] = json.loads(said)
    return result


def engines(work: Path) -> dict[str, dict[str, str]]:
    """Archives in the form of engines."""
    (work / "llama-server").write_text("#!/bin/sh\n")
    made = {}
    for name in NAMES:
        plan = build_plan(SOURCE, TARGETS[name].facts, {})
        archive = work / f"{name}.tar.gz"
        pack(work, ["llama-server"], archive, {key: plan[key] for key in ("id", "version", "platform")})
        archive.with_name(f"{archive.name}.sha256").write_text(f"{sha256_of(archive)}\n")
        made[name] = {"path": str(archive), "id": plan["id"], "artifact": plan["artifact"]}
    return made


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("bundles")
    for key in ("key", "foreign"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / key], check=True)
    lock = (CHECKOUT / "roles/bundle/files/controller.txt").read_text()
    locked = re.split(r"^(?=\S+==)", lock, flags=re.M)
    (work / "lock.txt").write_text("".join(one for one in locked if one.startswith(("markupsafe==", "pyyaml=="))))
    (work / "model.gguf").write_bytes(os.urandom(5 << 19))
    return work


@pytest.fixture(scope="module")
def wanted(work: Path) -> dict[str, Any]:
    entry = {"licence": "Apache-2.0"}
    return {
        "path": work / "bundle",
        "key": work / "key",
        "cache": work / "cache",
        "targets": list(NAMES),
        "engines": engines(work),
        "models": {
            "m": {
                "path": str(work / "model.gguf"),
                "licence": "Apache-2.0",
                "origin": "pkg:huggingface/somebody/model@0123",
                "entry": entry,
            }
        },
        "requirements": [str(work / "lock.txt")],
        "packages": ["libgomp1"],
        "install": [str(CHECKOUT / "roles/bundle/files/install"), str(CHECKOUT / "roles/bundle/files/controller.txt")],
        "part_mib": 1,
    }


@pytest.fixture(scope="module")
def made(wanted: dict[str, Any]) -> dict[str, Any]:
    result = run("bundle", wanted)
    assert result["changed"], result
    return result


@pytest.fixture
def bundle(made: dict[str, Any], work: Path, tmp_path: Path) -> Path:
    return shutil.copytree(work / "bundle", tmp_path / "bundle")


def verify(bundle: Path, work: Path, **more: Any) -> dict[str, Any]:
    return run("bundle_info", {"path": bundle, "key": work / "key.pub", **more})


def test_an_unchanged_bundle_is_not_written_again(made, wanted, work):
    before = {path: path.stat().st_mtime_ns for path in (work / "bundle").rglob("*")}
    again = run("bundle", wanted)
    assert not again["changed"], again
    assert {path: path.stat().st_mtime_ns for path in (work / "bundle").rglob("*")} == before


def test_elsewhere_the_same_inputs_give_the_same_bytes(made, wanted, tmp_path):
    assert run("bundle", wanted | {"path": tmp_path / "elsewhere"})["sha256"] == made["sha256"]


class Mirror:
    """Debian's archive, as a proxy, and a package index, on this machine: of what a bundle was made of before.

    It counts which files were fetched whole. Of the file ``held`` it sends one half and no more.
    """

    def __init__(self, cache: Path) -> None:
        # apt keeps a package with its epoch in the name, which the archive leaves out.
        self.files = {re.sub(r"_\d+%3a", "_", one.name): one for one in cache.glob("apt/*/archives/*.deb")}
        self.files |= {one.name: one for one in cache.glob("wheels/*/*.whl")}
        self.whole: Counter[str] = Counter()
        self.held, self.holds, self.free = "", threading.Event(), threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_arguments: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_arguments: None  # type: ignore[method-assign]  # whoever asked was killed
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        index = {"PIP_INDEX_URL": f"{self.address}/simple", "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": ""}
        index["PIP_TRUSTED_HOST"] = self.address.removeprefix("http://")  # pip keeps nothing else that comes without TLS
        return {"http_proxy": self.address, "no_proxy": "127.0.0.1", "PIP_NO_CACHE_DIR": "1", **index}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = unquote(request.path.rstrip("/").rpartition("/")[2])
        if "/dists/" in request.path:  # the lists that the cache has are the newest
            request.send_response(304)
            request.end_headers()
            return
        file = self.files.get(name)
        links = "".join(f'<a href="/wheels/{one}">{one}</a>' for one in self.files if one.lower().startswith(f"{name}-"))
        content = file.read_bytes() if file else links.encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/octet-stream" if file else "text/html")
        request.send_header("Content-Length", str(len(content)))
        request.send_header("Cache-Control", "max-age=365000000, immutable" if file else "no-store")  # as PyPI does
        request.end_headers()
        if file and self.held and re.search(self.held, name):
            request.wfile.write(content[: len(content) // 2])
            self.holds.set()
            self.free.wait(60)
            return
        request.wfile.write(content)
        if file:
            self.whole[name] += 1


@pytest.fixture
def mirror(made: dict[str, Any], work: Path) -> Iterator[Mirror]:
    mirror = Mirror(work / "cache")
    yield mirror
    mirror.free.set()
    mirror.server.shutdown()


def cut(process: subprocess.Popen[str], come: Callable[[], bool]) -> None:
    """Kills a run, and all that it started, at a moment."""
    deadline = time.monotonic() + 60
    while not come():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def content_of(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_was_cut_goes_on(wanted, work, mirror, tmp_path):
    """While it fetches a package, then a wheel, and while it writes. Nothing that was there is fetched again."""
    with open(tmp_path / "large.gguf", "wb") as file:
        file.truncate(64 << 20)
    models = {"m": wanted["models"]["m"] | {"path": str(tmp_path / "large.gguf")}}
    uncut = wanted | {"targets": [NAMES[0]], "models": models, "path": tmp_path / "uncut"}
    assert run("bundle", uncut, mirror.environment)["changed"]
    assert not mirror.whole  # all came from the cache
    again = uncut | {"path": tmp_path / "cut", "cache": tmp_path / "cache"}
    # Its own key signs repositories, and lists take minutes.
    shutil.copytree(work / "cache/gnupg", tmp_path / "cache/gnupg", ignore=shutil.ignore_patterns("S.*"))
    shutil.copytree(work / f"cache/apt/{NAMES[0]}/lists", tmp_path / f"cache/apt/{NAMES[0]}/lists")
    for held in (r"^libc6_", r"^(?i:pyyaml)-"):
        mirror.held = held
        mirror.holds.clear()
        cut(start("bundle", again, mirror.environment), mirror.holds.is_set)
        assert sum(mirror.whole.values()) > 0
    mirror.held = ""
    assert not (tmp_path / "cut").exists()
    cut(start("bundle", again, mirror.environment), (tmp_path / "cut/models/large.gguf.part-005").exists)
    assert not (tmp_path / "cut" / manifest.NAME).exists()
    before = (tmp_path / "cut/models/large.gguf.part-003").stat().st_ino
    assert run("bundle", again, mirror.environment)["changed"]
    assert content_of(tmp_path / "cut") == content_of(tmp_path / "uncut")
    assert (tmp_path / "cut/models/large.gguf.part-003").stat().st_ino == before
    fetched = {name for name in mirror.files if NAMES[0].partition("-")[2] in name or "x86_64" in name}
    assert set(mirror.whole) == fetched
    assert sum(mirror.whole.values()) - len(fetched) <= 2, "but what was sent at the moment of a kill, and not yet put away"
    assert not run("bundle", again, mirror.environment)["changed"]


def test_with_another_key_a_bundle_is_signed_again(bundle, wanted, work, mirror):
    again = wanted | {"path": bundle, "key": work / "foreign"}
    assert run("bundle", again, mirror.environment)["changed"]
    assert "models" in run("bundle_info", {"path": bundle, "key": work / "foreign.pub"})
    assert not run("bundle", again | {"key": work / "foreign.pub"}, mirror.environment)["changed"]


def test_it_is_whole_and_says_what_is_in_it(bundle, work):
    found = verify(bundle, work)
    assert found["targets"] == list(NAMES)
    assert found["models"]["m"]["licence"] == "Apache-2.0"
    assert [name.split("-")[2:5] for name in found["engines"]] == [["debian", RELEASE, "x86_64"], ["debian", "13", "aarch64"]]
    listed = {one["path"]: one for one in manifest.parse((bundle / manifest.NAME).read_bytes())["files"]}
    model = listed["models/model.gguf"]
    assert (model["licence"], model["origin"]) == ("Apache-2.0", "pkg:huggingface/somebody/model@0123")
    assert [part["size"] for part in model["parts"]] == [1 << 20, 1 << 20, 1 << 19]
    wheels = {name: one["targets"] for name, one in listed.items() if one["kind"] == "wheel"}
    assert {(name.endswith("x86_64.whl"), name.endswith("aarch64.whl"), *targets) for name, targets in wheels.items()} == {
        (True, False, NAMES[0]),
        (False, True, "trixie-arm64"),
    }
    assert all(one["licence"] and one["origin"] for one in listed.values())


@pytest.mark.parametrize("name", NAMES)
def test_apt_finds_all_that_a_bare_host_needs(bundle, work, tmp_path, name):
    """A host of any architecture: apt is only asked what it would do."""
    done = run(
        "bundle_archive",
        {"path": bundle, "key": work / "key.pub", "target": name, "dest": tmp_path / "a" / "host.tar", "host_path": tmp_path},
    )
    assert done["changed"], done
    with tarfile.open(tmp_path / "a/host.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "lists/partial").mkdir(parents=True)
    (tmp_path / "status").touch()
    architecture = name.partition("-")[2]
    options = [f"Dir::State::status={tmp_path}/status", f"APT::Architecture={architecture}", f"APT::Architectures={architecture}"]
    options += ["APT::Update::Error-Mode=any", "Debug::NoLocking=true"]
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    environment = os.environ | {"APT_CONFIG": str(tmp_path / "apt.conf")}
    subprocess.run([*apt, "update"], env=environment, check=True)
    install = [*apt, "--simulate", "--no-install-recommends", "install", "libgomp1"]
    said = subprocess.check_output(install, env=environment, text=True)
    assert re.search(rf"^Inst libgomp1 \(.*\[{architecture}\]\)", said, re.M), said


def test_an_archive_of_a_host_is_written_once_and_verified(bundle, work, tmp_path):
    arguments = {"path": bundle, "key": work / "key.pub", "target": NAMES[0], "dest": tmp_path / "host.tar", "host_path": "/x"}
    assert run("bundle_archive", arguments | {"_ansible_check_mode": True})["changed"]
    assert not (tmp_path / "host.tar").exists()
    assert [run("bundle_archive", arguments)["changed"] for _time in range(2)] == [True, False]
    flip(next(bundle.glob("wheels/*x86_64.whl")))
    assert "wheels/" in run("bundle_archive", arguments | {"dest": tmp_path / "other.tar"})["msg"]
    assert not (tmp_path / "other.tar").exists()
    assert "not for bookworm-arm64" in run("bundle_archive", arguments | {"target": "bookworm-arm64"})["msg"]
    full = arguments | {"dest": "/proc/self/fdinfo/host.tar", "target": NAMES[1]}
    assert "fdinfo/host.tar was not written" in run("bundle_archive", full)["msg"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_part_is_replaced_alone(bundle, work):
    part = bundle / "models/model.gguf.part-001"
    flip(part)
    said = verify(bundle, work)["msg"]
    assert said.splitlines()[1:] == [
        "- models/model.gguf.part-001 is damaged (its sha256 is not that of MANIFEST.json): copy it again"
    ]
    shutil.copy(work / "bundle/models/model.gguf.part-001", part)
    assert "models" in verify(bundle, work)


def test_engines_are_verified_though_nothing_else_is_read(bundle, work):
    flip(next(bundle.glob("wheels/*x86_64.whl")))
    assert "models" in verify(bundle, work, targets=[])
    archive = next(bundle.glob("engine/*x86_64*.gz"))
    flip(archive)
    assert f"engine/{archive.name} is damaged" in verify(bundle, work, targets=[])["msg"]


def test_an_update_has_only_what_differs(bundle, wanted, work, tmp_path):
    (work / "changed.gguf").write_bytes((work / "model.gguf").read_bytes()[: 2 << 20] + os.urandom(1 << 19))
    models = {"n": wanted["models"]["m"] | {"path": str(work / "changed.gguf")}}
    models["m"] = wanted["models"]["m"]
    update = wanted | {"path": tmp_path / "update", "base": bundle, "targets": [NAMES[0]], "models": models}
    result = run("bundle", update)
    there = {path.relative_to(tmp_path / "update").as_posix() for path in (tmp_path / "update").rglob("*") if path.is_file()}
    parts = {f"models/changed.gguf.part-00{number}" for number in range(3)}
    assert there == parts | {"sbom.cdx.json", manifest.NAME, manifest.SIGNATURE}
    assert result["written"] == len(parts) + 1
    shutil.copytree(tmp_path / "update", bundle, dirs_exist_ok=True)
    said = verify(bundle, work)["msg"].splitlines()[1:]
    assert said and all(line.endswith("is not in MANIFEST.json: remove it") for line in said)
    old = [line.split()[1] for line in said]
    assert {name.split("/")[0] for name in old} == {"debs", "wheels", "engine"}
    for name in old:
        (bundle / name).unlink()
    assert verify(bundle, work)["targets"] == [NAMES[0]]
    assert result["files"] == len([path for path in bundle.rglob("*") if path.is_file()]) - 2  # manifest and signature


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip, "is no engine that slm.copilot.site compiled|not the checksum of"),
        (lambda archive: archive.with_name(f"{archive.name}.sha256").unlink(), "is not there, or not the checksum of"),
        (lambda archive: archive.write_bytes(b"x"), "is no engine that slm.copilot.site compiled"),
    ],
    ids=["a flipped bit", "no checksum", "something else"],
)
def test_a_damaged_engine_goes_into_no_bundle(wanted, tmp_path, damage, words):
    given = engines(tmp_path)
    damage(Path(given[NAMES[0]]["path"]))
    said = run("bundle", wanted | {"path": tmp_path / "bundle", "engines": given})["msg"]
    assert any(one in said for one in words.split("|")), said


def test_an_engine_of_other_hosts_is_refused(wanted, tmp_path):
    given = engines(tmp_path)
    given[NAMES[0]]["path"] = given[NAMES[1]]["path"]
    said = run("bundle", wanted | {"path": tmp_path / "bundle", "engines": given})["msg"]
    assert f"for debian-13-aarch64, and {NAMES[0]} needs llama.cpp-1.0-debian-{RELEASE}-x86_64-" in said
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("servers", "told"), [({}, True), ({"bundle_server_targets": []}, False)], ids=["server", "balancer"])
def test_servers_alone_need_an_engine(tmp_path, servers, told):
    (tmp_path / "hosts.ini").write_text("[copilot_servers]\nhost ansible_host=192.0.2.10\n")
    given = {"bundle_dir": f"{tmp_path}/bundle", "bundle_key": "/nowhere", "bundle_targets": ["trixie-arm64"]}
    given |= servers | {"copilot_cache_dir": str(tmp_path), "copilot_fleet_dir": str(tmp_path)}
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, CHECKOUT / "playbooks/bundle.yml", "-i", tmp_path / "hosts.ini", "-e", json.dumps(given)],
        cwd=CHECKOUT,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert "bundle_key is '/nowhere'" in done.stdout
    assert ("There is no engine for trixie-arm64" in " ".join(done.stdout.split())) is told


def test_a_part_that_no_stick_holds_is_refused(wanted, tmp_path):
    assert "bundle_part_mib is 4096" in run("bundle", wanted | {"path": tmp_path / "bundle", "part_mib": 4096})["msg"]


def install(bundle: Path, key: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs the bundle's own install, as a user who must not become root."""
    return subprocess.run(
        ["sh", bundle / "install", key, home / "venv"],
        env=os.environ | {"HOME": str(home)},
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda bundle: flip(bundle / "controller.txt"), "controller.txt: FAILED"),
        (lambda bundle: next(bundle.glob("wheels/*")).unlink(), "No such file"),
        (lambda bundle: flip(bundle / manifest.NAME), "the signature of MANIFEST.json is not that of"),
        (lambda bundle: (bundle / manifest.SIGNATURE).write_text("x"), "the signature of MANIFEST.json is not that of"),
    ],
    ids=["a flipped bit", "a file missing", "the manifest changed", "the signature exchanged"],
)
def test_a_damaged_bundle_sets_up_no_controller(bundle, work, tmp_path, damage, words):
    damage(bundle)
    done = install(bundle, work / "key.pub", tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_controller_of_another_release_or_with_another_key_is_refused(bundle, work, tmp_path):
    done = install(bundle, work / "foreign.pub", tmp_path)
    assert "the signature of MANIFEST.json is not that of" in done.stderr
    content = manifest.parse((bundle / manifest.NAME).read_bytes())
    del content["targets"][NAMES[0]]
    (bundle / manifest.NAME).write_bytes(manifest.render(content))
    manifest.sign(bundle, str(work / "key"))
    done = install(bundle, work / "key.pub", tmp_path)
    assert f"this machine is {NAMES[0]}, for which the bundle is not. Nothing was changed." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
