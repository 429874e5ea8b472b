# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes what the contract tests need: LiteLLM's venv, the engine, the model, servers, the service and the gateway.

SLM_COPILOT_LITELLM_VENV names a venv that is there already, SLM_COPILOT_ENGINE a directory with bin/llama-server.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

CHECKOUT = Path(__file__).resolve().parents[2]
_AnsibleCollectionFinder(paths=[str(CHECKOUT / ".collections")])._install()

from ansible_collections.slm.copilot.plugins.plugin_utils._litellm import litellm_config
from gateway_rig import Developer, Gateway
from rig import CACHE, LITELLM, PATIENCE, ROUTER, FaultProxy, Llama, Member, Service, certificate, members_of, venv_of
from router_rig import EngineOnSocket


@pytest.fixture(scope="session")
def litellm_venv() -> Path:
    if given := os.environ.get("SLM_COPILOT_LITELLM_VENV"):
        return Path(given)
    return venv_of(LITELLM)


@pytest.fixture(scope="session")
def router_venv() -> Path:
    return venv_of(ROUTER)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled engine, as the demo and Molecule leave it in the cache."""
    if given := os.environ.get("SLM_COPILOT_ENGINE"):
        return Path(given)
    release = platform.freedesktop_os_release()
    ours = f"*-{release['ID']}-{release['VERSION_ID']}-{platform.machine()}-*.tar.gz"  # others may be there for other hosts
    archives = sorted((CACHE / "engine").glob(ours), key=lambda path: path.stat().st_mtime)
    if not archives:
        pytest.fail(f"there is no compiled engine in {CACHE}/engine: make demo or make molecule makes it")
    directory = tmp_path_factory.mktemp("engine")
    with tarfile.open(archives[-1]) as archive:
        archive.extractall(directory, filter="data")
    return directory


@pytest.fixture(scope="session")
def templates() -> Path:
    """The folder of templates in llama.cpp's source, out of the archive that the engine is compiled from."""
    pins = yaml.safe_load((CHECKOUT / "roles/llama_cpp_build/defaults/main.yml").read_text())
    target = CACHE / "templates" / str(pins["llama_cpp_build_sha256"])[:12]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as directory:
            work = Path(directory)
            pin = f"llama-cpp-python=={pins['llama_cpp_build_version']} --hash=sha256:{pins['llama_cpp_build_sha256']}\n"
            (work / "pinned.txt").write_text(pin)
            options = ["--quiet", "--require-hashes", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(work)]
            subprocess.run([sys.executable, "-m", "pip", "download", *options, "-r", work / "pinned.txt"], check=True)
            with tarfile.open(next(work.glob("*.tar.gz"))) as archive:
                inside = [one for one in archive.getmembers() if "/vendor/llama.cpp/models/templates/" in one.name]
                archive.extractall(work, inside, filter="data")
            with suppress(OSError):  # another run was faster
                os.rename(next(work.glob("*/vendor/llama.cpp/models/templates")), target)
    return target


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "tiny.gguf"
    subprocess.run([CHECKOUT / "tools/test-model", file], check=True)
    return file


@pytest.fixture(scope="module")
def llama(engine: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineOnSocket]:
    """A llama-server as a host has it, for a file of tests."""
    server = EngineOnSocket(engine, model, tmp_path_factory.mktemp("engine"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def llamas(engine: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Llama]]:
    """Three servers."""
    servers = [Llama(engine, model, tmp_path_factory.mktemp("llama")) for _server in range(3)]
    for server in servers:
        server.start()
    for server in servers:
        server.wait_ready()
    yield servers
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def proxies_of_session(llamas: list[Llama]) -> Iterator[list[FaultProxy]]:
    proxies = [FaultProxy(server.port) for server in llamas]
    yield proxies
    for proxy in proxies:
        proxy.close()


@pytest.fixture(scope="session")
def running(
    litellm_venv: Path, proxies_of_session: list[FaultProxy], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service, which all tests share: a leak of one is the failure of the next."""
    service = Service(litellm_venv, litellm_config({"request_timeout": 3600}), tmp_path_factory.mktemp("service"))
    service.pool(*members_of(proxies_of_session))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def members(proxies_of_session: list[FaultProxy]) -> list[Member]:
    return members_of(proxies_of_session)


@pytest.fixture
def proxies(proxies_of_session: list[FaultProxy]) -> Iterator[list[FaultProxy]]:
    """One before each server, without a fault."""
    for proxy in proxies_of_session:
        proxy.heal()
    yield proxies_of_session
    for proxy in proxies_of_session:
        proxy.heal()


@pytest.fixture
def service(running: Service, proxies: list[FaultProxy], members: list[Member]) -> Iterator[Service]:
    """The service with a pool of three idle backends; whatever a test does, nothing stays counted."""
    if running.changed:
        running.wait_pool(*members)
        running.changed = False
    yield running
    running.changed |= any(proxy.fault or proxy.gone for proxy in proxies)
    for proxy in proxies:
        proxy.heal()
    for name in running.state:
        running.wait_state(name, in_flight=0)


@pytest.fixture(scope="session")
def fleet_ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What servers' certificates are signed by."""
    return certificate(tmp_path_factory.mktemp("ca"), "fleet")


@pytest.fixture(scope="session")
def upstream(engine: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """What is behind the gateway. It asks for no key, and has two slots and a context in which long answers do not end."""
    server = Llama(engine, model, tmp_path_factory.mktemp("upstream"), slots=2, context=32768, locked=False)
    server.start()
    server.wait_ready()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def unlimited(upstream: Llama, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests that do not need another: without limits of requests, and with an admin at one address."""
    gateway = Gateway(
        tmp_path_factory.mktemp("unlimited"),
        fleet_ca,
        gateway_upstream=f"127.0.0.1:{upstream.port}",
        gateway_key_requests=0,
        gateway_key_concurrent=0,
        gateway_address_requests=0,
        gateway_address_concurrent=0,
        gateway_admin_networks=["127.0.0.1"],
        gateway_restart_wait=PATIENCE,
    )
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def gateway(unlimited: Gateway) -> Gateway:
    """What a module's developers come to, unless it has its own."""
    return unlimited


@pytest.fixture
def alice(gateway: Gateway) -> Developer:
    return gateway.developer()


@pytest.fixture
def bob(gateway: Gateway) -> Developer:
    return gateway.developer()


@pytest.fixture
def certified(alice: Developer, fleet_ca: tuple[Path, Path], tmp_path: Path) -> Callable[[str], Developer]:
    """Gives somebody who shows a certificate with that name, and no key."""

    def made(name: str) -> Developer:
        key, chain = tmp_path / "client.key", tmp_path / "client.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        command += ["-subj", f"/CN={name}", "-CA", fleet_ca[0], "-CAkey", fleet_ca[1], "-keyout", key, "-out", chain]
        subprocess.run(command, check=True, capture_output=True)
        return replace(alice, key=None, certificate=(chain, key))

    return made


@pytest.fixture
def nobody(gateway: Gateway) -> Developer:
    """Somebody without a key."""
    return replace(gateway.developer(), key=None)
