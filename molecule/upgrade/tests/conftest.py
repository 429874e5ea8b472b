# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: a fleet and a standalone server, other engines and models, developers who never stop."""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

sys.path.insert(0, os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "molecule/resources"))

import engines
import people
from developers import Client, Crowd, Stream
from fleet import GATEWAY, PROXY, UNIT, Balancer, key_of
from journal import journal_of, shown_on_failure
from people import FLEET, PROJECT

INVENTORIES = PROJECT / "molecule/upgrade/inventory"
ADDRESSES = {"madrid-1": "10.89.91.11", "berlin-2": "10.89.91.15", "alone-1": "10.89.91.14"}
SERVERS = ("madrid-1", "paris-1", "berlin-1")
BALANCERS = ("madrid-1", "berlin-2")
ALONE = "alone-1"
HALF_A_MINUTE, FIVE_MINUTES = 30, 300
MOST_TOKENS = 7900  # of a context
HUB = PROJECT / ".cache/molecule/upgrade/slm-copilot/smollm2"
OTHER_MODEL = {"smollm2": {"repo": "slm-copilot/smollm2", "file": "smollm2-q8_0.gguf", "tools": False}}
# What a host runs, and what its next start would run; the same on all hosts, however large they are.
OF_SERVER = f"""
process=$(systemctl show --property=MainPID --value {UNIT})
readlink /proc/$process/exe
tr '\\0' '\\n' </proc/$process/cmdline | grep --after-context 1 --line-regexp -e --model -e --timeout
grep --only-matching -e '--model [^ ]*' -e '--timeout [^ ]*' /etc/systemd/system/{UNIT}
readlink /opt/slm-copilot/llama.cpp/current /opt/slm-copilot/router/current
md5sum </etc/slm-copilot/router.json
test ! -e /etc/slm-copilot/engine/armed.json
"""
OF_BALANCER = ("/etc/slm-copilot/proxy/config.yaml", f"/etc/systemd/system/{PROXY}")
said_at_the_end: list[str] = []


class Operator(people.Operator):
    def well(self, *arguments: str, **options: Any) -> people.Run:
        """Runs a playbook that must succeed."""
        done = self.run(*arguments, **options)
        assert done.status == 0, done.output[-4000:]
        return done

    def unchanged(self, *names: str, **variables: Any) -> None:
        """Runs site.yml, which changes nothing."""
        done = self.well(**variables)
        assert {name: done.changed(name) for name in names} == dict.fromkeys(names, 0)


@pytest.fixture(scope="session")
def hosts() -> dict[str, Host]:
    here = {"controller": testinfra.get_host("local://")}
    return here | {name: testinfra.get_host(f"podman://{name}") for name in (*SERVERS, "berlin-2", ALONE)}


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path, [INVENTORIES / "fleet.yml"])


@pytest.fixture(scope="session")
def set_up_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    Operator(tmp_path_factory.mktemp("alone"), [INVENTORIES / "alone.yml"]).well()


@pytest.fixture
def operator_alone(tmp_path: Path, set_up_alone: None) -> Operator:
    return Operator(tmp_path, [INVENTORIES / "alone.yml"])


def version_of(host: Host) -> str:
    """Returns what a server runs."""
    controller = testinfra.get_host("local://")
    # Privileged, since root of a container may not see which program another account runs.
    return controller.check_output("podman exec --privileged %s bash -ec %s", host.backend.name, OF_SERVER)


def client_of(name: str) -> Client:
    return Client(key_of("shared", "api-keys"), ADDRESSES[name], FLEET / "ca/ca.pem", "smollm2")


def seconds_of(stream: Stream) -> float:
    return stream.at[-1] - stream.at[0]


def tokens_in(client: Client, seconds: int) -> int:
    """Returns how many tokens take an answer more than so many seconds, when its server has nothing else to do."""
    probe = client.stream(max_tokens=60, ignore_eos=True)
    return min(MOST_TOKENS, int(1.2 * seconds * len(probe.at) / seconds_of(probe)))


@pytest.fixture
def crowd(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Developers who never stop, with answers of so many seconds; nothing that they ask for is lost or cut."""

    @contextmanager
    def asking(name: str = "berlin-2", developers: int = 2, seconds: int = HALF_A_MINUTE) -> Iterator[Crowd]:
        client = client_of(name)
        with Crowd(client, developers, tokens_in(client, seconds), seconds) as found:
            yield found
            found.asked(developers)
        assert found.lost() == [] and found.cut() == []
        lasted = [seconds_of(one) for one in found.streams]
        said_at_the_end.append(
            f"{request.node.name}: {len(lasted)} streams of {min(lasted):.0f} to {max(lasted):.0f} s, first token "
            f"p95 {found.slowest_first_token():.1f} s, longest silence {found.longest_silence():.1f} s"
        )
        assert statistics.median(lasted) >= seconds

    return asking


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in said_at_the_end:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    # A host refuses what it has rolled back, also when the tests run again.
    return lambda name, *spoil: engines.another(tmp_path_factory.mktemp("engine"), f"{name} {secrets.token_hex(4)}", *spoil)


def without_variants(*kept: str) -> Callable[[Path], None]:
    """Takes away what computes on other processors than the named."""

    def spoil(programs: Path) -> None:
        for library in programs.glob("libggml-cpu-*.so"):
            if library.stem.removeprefix("libggml-cpu-") not in kept:
                library.unlink()

    return spoil


@pytest.fixture(scope="session")
def other_model() -> dict[str, Any]:
    """Quantises the model in another way, and returns the variables with which site.yml takes that file."""
    one = next(iter(OTHER_MODEL.values()))
    with engines.unpacked() as folder:
        quantize = [
            folder / "bin/llama-quantize",
            "--allow-requantize",
            HUB / "smollm2-q4_1.gguf",
            HUB / str(one["file"]),
            "Q8_0",
        ]
        subprocess.run(quantize, check=True, capture_output=True)
    return {"copilot_catalogue": OTHER_MODEL}


@pytest.fixture
def of_one_mind(hosts: dict[str, Host]) -> Callable[[], str]:
    """Returns what all servers of the fleet run, and all balancers; on none is a rollback armed."""

    def found() -> str:
        servers = {name: version_of(hosts[name]) for name in SERVERS}
        balancers = {name: hosts[name].check_output(f"cat {' '.join(OF_BALANCER)} | md5sum") for name in BALANCERS}
        assert len(set(servers.values())) == len(set(balancers.values())) == 1, f"{servers} {balancers}"
        return servers[SERVERS[0]] + balancers[BALANCERS[0]]

    return found


@pytest.fixture
def slower(hosts: dict[str, Host]) -> Iterator[None]:
    """Servers that need five minutes for less than a context."""
    for name in SERVERS:
        hosts[name].check_output("echo 0.2 >/etc/slow-engine")
    yield
    for name in SERVERS:
        hosts[name].check_output("echo 0.05 >/etc/slow-engine")


@pytest.fixture(autouse=True)
def all_is_well(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Iterator[None]:
    """Each test begins with three usable servers. When one fails, the services' words are shown."""
    for name in BALANCERS:
        Balancer(hosts[name]).wait_for(*SERVERS)
    units = (UNIT, PROXY, GATEWAY, "slm-copilot-router.service")
    looked_at = (*SERVERS, "berlin-2", ALONE)
    with shown_on_failure(request, lambda: "\n".join(f"{name}: {journal_of(hosts[name], *units)}" for name in looked_at)):
        yield
