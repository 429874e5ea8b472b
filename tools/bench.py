# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measures what can be compared within one run on one machine, and prints it as ratios.

What does an engine with all CPU variants cost against one compiled for just this machine, what does a run that changes nothing
cost against a ping, for one host and for twenty, what does the way into a server cost against its llama-server's own socket, and
the way through a balancer against a server asked directly?
Machines are noisy, so that the two sides take turns and the medians are compared. Last, a server is killed under load: how many
questions are lost? And what is it worth to choose the server that holds a conversation? Does a model do what was expected of it?
What do developers notice of an upgrade and of a rollback?

Usage: tools/bench.py [engine | site | server | balancer | warm | speculation | advice | defaults | upgrade]...
(all by default; BENCH_HOSTS=4: fewer than twenty hosts; warm_bench.py has the choices of warm)
"""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import secrets
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.slm.copilot.plugins.module_utils._engine.build import COMMON_OPTIONS

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "molecule/resources"), str(PROJECT / "tools"), str(PROJECT / "tests/contract")]

import advice_bench
import defaults_bench
import engines
import speculation_bench
import upgrade_bench
import warm_bench
from developers import Client, Crowd
from gateway_rig import Gateway
from rig import ROUTER, UnixConnection, certificate, venv_of
from router_rig import EngineOnSocket, Router

BIN = PROJECT / ".venv/bin"
WORK = PROJECT / ".cache/bench"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slm-copilot"
DEMO = ("-i", str(PROJECT / "inventories/demo/one.ini"))
FLEET = PROJECT / "inventories/demo/.slm-copilot"
BALANCER, SERVER = "10.89.77.11", "10.89.77.12"
HOSTS = int(os.environ.get("BENCH_HOSTS", "20"))
ROUNDS = 3
Row = tuple[str, float, str]  # what, ratio, the figures behind it


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def take_turns(sides: dict[str, Callable[[], dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Returns the median of each figure of each side."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _round in range(ROUNDS):
        for name, measure in sides.items():
            figures[name].append(measure())
    return {name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]} for name, rounds in figures.items()}


def source() -> Path:
    """Returns llama.cpp's source, the same that the engine is made of."""
    target = WORK / "source"
    if not target.exists():
        pins = yaml.safe_load((PROJECT / "roles/llama_cpp_build/defaults/main.yml").read_text())
        requirement = WORK / "source.txt"
        requirement.write_text(
            f"llama-cpp-python=={pins['llama_cpp_build_version']} --hash=sha256:{pins['llama_cpp_build_sha256']}\n"
        )
        run(BIN / "pip", "download", "-q", "--require-hashes", "--no-deps", "--no-binary", "llama-cpp-python", "-d", WORK,
            "-r", requirement)  # fmt: skip
        with tarfile.open(next(WORK.glob("llama_cpp_python-*.tar.gz"))) as archive:
            inside = f"{archive.getnames()[0].split('/')[0]}/vendor/llama.cpp"
            archive.extractall(WORK, [one for one in archive.getmembers() if one.name.startswith(inside)])
        (WORK / inside).rename(target)
    return target


def native_engine() -> Path:
    """Returns a directory with the programs compiled for just this machine."""
    build = WORK / "native"
    say("Compiling the same source with -march=native (minutes, the first time)")
    options = {**COMMON_OPTIONS, "GGML_NATIVE": "ON", "GGML_BACKEND_DL": "OFF"}
    run("cmake", "-G", "Ninja", "-S", source(), "-B", build, *(f"-D{name}={value}" for name, value in options.items()))
    run("ninja", "-C", build, "llama-bench", "llama-quantize")
    return build / "bin"


def installed_engine() -> Path:
    """Returns a directory with the programs that a host of this kind gets."""
    artifacts = sorted((CACHE / "engine").glob("*.tar.gz"), key=lambda path: path.stat().st_mtime)
    if not artifacts:
        sys.exit("No compiled engine in the cache: run make demo first.")
    target = WORK / artifacts[-1].name.removesuffix(".tar.gz")
    with tarfile.open(artifacts[-1]) as archive:
        archive.extractall(target)
    return target / "bin"


def model(engine: Path) -> Path:
    """Returns a model of about 1.5 billion random weights, quantised as the catalogue's models are."""
    target = WORK / "1.5b-Q4_K_M.gguf"
    if not target.exists():
        full = WORK / "1.5b.gguf"
        say("Making a model of 1.5 billion random weights")
        vocabulary = source() / "models/ggml-vocab-llama-bpe.gguf"
        run(sys.executable, PROJECT / "tools/tiny_model.py", "--vocab", vocabulary, "--shape", "1.5b", "--output", full)
        run(engine / "llama-quantize", full, target, "Q4_K_M")
        full.unlink()
    return target


def tokens_per_second(engine: Path, gguf: Path) -> dict[str, float]:
    output = run(engine / "llama-bench", "-m", gguf, "-p", "256", "-n", "32", "-r", "2", "-o", "json", cwd="/")
    tests = json.loads(output[output.index("[\n") :])
    return {"prompt" if test["n_prompt"] else "generation": test["avg_ts"] for test in tests}


def seconds(*command: str | Path) -> dict[str, float]:
    """Returns the time of a command, and what it computed on this machine: what containers did is not in it."""
    computed, started = children(), time.monotonic()
    output = run(*command, cwd=PROJECT)
    figures = {"seconds": time.monotonic() - started, "computed": children() - computed}
    if "ansible-playbook" in str(command[0]):
        recap = re.findall(r"ok=(\d+) +changed=(\d+).* skipped=(\d+)", output)
        if any(changed != "0" for _ok, changed, _skipped in recap):
            sys.exit("The run was to change nothing, and did:\n" + output[-2000:])
        figures |= {"executed": float(recap[0][0]), "skipped": float(recap[0][2])}
    return figures


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare_engines() -> list[Row]:
    engines = {"installed": installed_engine(), "native": native_engine()}
    gguf = model(engines["native"])
    speed = take_turns({name: lambda path=path: tokens_per_second(path, gguf) for name, path in engines.items()})
    return [
        (
            f"{kind} speed, installed engine against -march=native",
            speed["installed"][kind] / speed["native"][kind],
            f"{speed['installed'][kind]:.1f} against {speed['native'][kind]:.1f} tokens/s",
        )
        for kind in ("prompt", "generation")
    ]


@contextmanager
def demo(zones: int, *model: str) -> Iterator[None]:
    """The demo, with another model where one is named, for as long as it is measured."""
    say(f"Starting the demo with {zones} host{'s' if zones > 1 else ''}")
    try:
        run(PROJECT / "tools/demo", "up", str(zones), *model, cwd=PROJECT)
        yield
    finally:
        run(PROJECT / "tools/demo", "down", cwd=PROJECT)


@contextmanager
def copies(count: int, of: str, network: str, first: str, inventory: Path) -> Iterator[Path]:
    """Real hosts, with systemd, ssh and a server each, made from one that serves. Yields an inventory of them."""
    image, names = "localhost/slm-copilot-bench", [f"slm-copilot-bench-{number}" for number in range(count)]
    base, last = first.rsplit(".", 1)
    hosts = inventory / "bench.ini"
    # Each systemd watches files by six or seven instances, and Linux grants 128 to all of them together.
    watches = Path("/proc/sys/fs/inotify/max_user_instances")
    granted = watches.read_text(encoding="ascii")
    try:
        watches.write_text(str(max(int(granted), 16 * count)), encoding="ascii")
        run("podman", "commit", "--quiet", of, image)
        lines = ["[copilot_servers]"]
        for number, name in enumerate(names):
            address = f"{base}.{int(last) + 100 + number}"
            container = ["--name", name, "--hostname", name, "--network", network, "--ip", address, "--systemd=always"]
            rights = ["--cap-add", "SYS_ADMIN", "--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096"]
            run("podman", "--runtime", "runc", "run", "--detach", *container, *rights, image, "/lib/systemd/systemd")
            lines.append(f"{name} ansible_host={address} ansible_ssh_extra_args='-o HostKeyAlias={first}'")
        hosts.write_text("\n".join([*lines, ""]))
        say(f"Giving {count} hosts certificates of their own")
        run(BIN / "ansible", "all", "-i", hosts, "-m", "wait_for_connection", cwd=PROJECT)
        run(BIN / "ansible-playbook", "site.yml", "-i", hosts, cwd=PROJECT)
        yield hosts
    finally:
        run("podman", "rm", "--force", "--ignore", "--time", "1", *names)
        run("podman", "rmi", "--force", "--ignore", image)
        hosts.unlink(missing_ok=True)
        watches.write_text(granted, encoding="ascii")


def compare_runs() -> list[Row]:
    site = BIN / "ansible-playbook", "site.yml", "-i"
    with (
        demo(1),
        copies(HOSTS, "slm-copilot-demo-1", "slm-copilot-demo", "10.89.77.11", PROJECT / "inventories/demo") as many,
    ):
        times = take_turns(
            {
                "ping": lambda: seconds(BIN / "ansible", "all", *DEMO, "-m", "ping"),
                "one": lambda: seconds(*site, PROJECT / "inventories/demo/one.ini"),
                "many": lambda: seconds(*site, many),
            }
        )
    return rows_of_runs(times)


def rows_of_runs(times: dict[str, dict[str, float]]) -> list[Row]:
    ping, one, many = (times[name]["seconds"] for name in ("ping", "one", "many"))
    tasks = f"{times['one']['executed']:.0f} tasks executed, {times['one']['skipped']:.0f} skipped"
    return [
        (
            "a run of site.yml that changes nothing, in pings",
            one / ping,
            f"{one:.1f} s against {ping:.1f} s; {tasks}",
        ),
        (
            f"the same run with {HOSTS} hosts, containers on this machine's {os.cpu_count()} processors, against one host",
            many / one,
            f"{many:.1f} s against {one:.1f} s",
        ),
        (
            f"what the controller itself computes, {HOSTS} hosts against one",
            times["many"]["computed"] / times["one"]["computed"],
            f"{times['many']['computed']:.1f} s against {times['one']['computed']:.1f} s of one processor",
        ),
    ]


def key_of(name: str, file: str) -> str:
    lines = (FLEET / file).read_text().splitlines()
    return lines[lines.index(f"# name: {name}") + 1]


def ask(client: Client) -> dict[str, float]:
    """Returns the median time to the first token (seconds), and the requests per second of eight developers."""
    first = [client.stream().seconds_to_first for _one in range(20)]
    with Crowd(client, developers=8, tokens=8) as developers:
        started = time.monotonic()
        developers.asked(100)
        rate = len(developers.streams) / (time.monotonic() - started)
    return {"first": statistics.median(first), "rate": rate}


def first_tokens(connection: http.client.HTTPConnection, headers: dict[str, str]) -> dict[str, float]:
    """Returns the time to the first token of streams over open connections, in ms: median, and end of the fastest tenth."""
    times = []
    for _question in range(100):
        content = f"Hello, my number is {secrets.token_hex(4)}"
        question = {"messages": [{"role": "user", "content": content}], "max_tokens": 4, "ignore_eos": True, "stream": True}
        connection.connect()
        started = time.monotonic()
        connection.request("POST", "/v1/chat/completions", json.dumps(question), {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        if response.status != http.client.OK:
            sys.exit(f"a question was answered with {response.status}: {response.read()!r}")
        while not response.readline().startswith(b"data: "):
            pass
        times.append((time.monotonic() - started) * 1000)
        response.read()
        connection.close()
    return {"median": statistics.median(times), "fast": statistics.quantiles(times, n=10)[0]}


def compare_ways_in() -> list[Row]:
    """llama-server's own socket, the router's, and the gateway's port, as processes of this machine."""
    gguf = WORK / "tiny.gguf"
    run(PROJECT / "tools/test-model", gguf, "tiny")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        engine = EngineOnSocket(installed_engine().parent, gguf, work)
        router = Router(venv_of(ROUTER), engine, work)
        unlimited = dict.fromkeys(("gateway_key_requests", "gateway_address_requests"), 0)
        gateway = Gateway(work, certificate(work, "fleet"), gateway_upstream=f"unix@{router.socket}", **unlimited)
        try:
            engine.start()
            router.start()
            router.wait_state(health="ready")
            gateway.start()
            alice = gateway.developer()
            asker = {"X-Copilot-User": "alice", "X-Copilot-Role": "developer"}
            ways = take_turns(
                {
                    "gateway": lambda: first_tokens(alice.connect(), alice.headers()),
                    "router": lambda: first_tokens(UnixConnection(router.socket), asker),
                    "direct": lambda: first_tokens(UnixConnection(engine.socket), {}),
                }
            )
        finally:
            for program in (gateway, router):
                program.stop()
            engine.kill()

    def row(what: str, way: str, figure: str) -> Row:
        ours, bare = ways[way][figure], ways["direct"][figure]
        return (
            f"time to the first token, {what} against llama-server's socket",
            ours / bare,
            f"{ours:.1f} against {bare:.1f} ms",
        )

    return [
        row(f"{what}, {name},", way, figure)
        for figure, name in (("median", "median"), ("fast", "fastest tenth"))
        for way, what in (("router", "through the router"), ("gateway", "through gateway and router"))
    ]


def compare_ways() -> list[Row]:
    with demo(3, "tiny"):
        ca = FLEET / "ca/ca.pem"
        through = Client(key_of("shared", "api-keys"), BALANCER, ca, "tiny")
        direct = Client(key_of("demo-2", "backend-keys"), SERVER, ca, "tiny")
        ways = take_turns({"through": lambda: ask(through), "direct": lambda: ask(direct)})

        say("Killing a server under load")
        with Crowd(through, developers=6, tokens=400) as developers:
            developers.asked(6)
            run("podman", "exec", "slm-copilot-demo-2", "systemctl", "kill", "--signal", "KILL", "slm-copilot")
            developers.asked(60)
    first, rate = ({name: way[figure] for name, way in ways.items()} for figure in ("first", "rate"))
    lost, cut, answered = len(developers.lost()), len(developers.cut()), len(developers.streams)
    return [
        (
            "time to the first token, through the balancer against direct",
            first["through"] / first["direct"],
            f"{first['through'] * 1000:.0f} against {first['direct'] * 1000:.0f} ms",
        ),
        (
            "questions per second of 8 developers, three servers behind the balancer against one direct",
            rate["through"] / rate["direct"],
            f"{rate['through']:.1f} against {rate['direct']:.1f}",
        ),
        (
            "questions lost when a server is killed under load",
            lost,
            f"of {answered}; {cut} answers that had begun on it were cut",
        ),
    ]


def compare_warmth() -> list[Row]:
    gguf = WORK / "tiny.gguf"
    run(PROJECT / "tools/test-model", gguf, "tiny")
    return warm_bench.measured(installed_engine().parent, gguf)


def compare_speculation() -> list[Row]:
    gguf = WORK / "smollm2.gguf"
    run(PROJECT / "tools/test-model", gguf, "smollm2")
    with speculation_bench.sides(installed_engine().parent, gguf) as sides:
        return speculation_bench.rows(take_turns(sides))


def compare_expectations() -> list[Row]:
    engine, small = installed_engine(), WORK / "smollm2.gguf"
    run(PROJECT / "tools/test-model", small, "smollm2")
    models = {"SmolLM2": small, "1.5 billion random weights": model(engine)}
    return [row for name, gguf in models.items() for row in advice_bench.rows(name, take_turns(advice_bench.sides(engine, gguf)))]


def compare_settings() -> list[Row]:
    engine, small, tiny = installed_engine(), WORK / "smollm2.gguf", WORK / "tiny.gguf"
    run(PROJECT / "tools/test-model", small, "smollm2")
    run(PROJECT / "tools/test-model", tiny, "tiny")
    rows = []
    for name, gguf in {"SmolLM2": small, "1.5 billion random weights": model(engine)}.items():
        with defaults_bench.sides(engine.parent, gguf) as sides:
            rows += defaults_bench.rows(name, take_turns(sides))
    return [*rows, *defaults_bench.token_rows(defaults_bench.tokens(engine.parent, tiny))]


def compare_changes() -> list[Row]:
    ca, rows = FLEET / "ca/ca.pem", list[Row]()
    for zones, what in {1: "a standalone server", 3: "three servers behind a balancer"}.items():
        with demo(zones, "tiny"), tempfile.TemporaryDirectory() as folder:
            play = [BIN / "ansible-playbook", "-i", PROJECT / f"inventories/demo/{'zones' if zones > 1 else 'one'}.ini", "-e"]
            known = {"copilot_model": "tiny", "copilot_gate_slowdown": 100}  # the developers' requests slow an engine
            new = {**known, **engines.another(Path(folder), "benchmark")}
            changes = {
                "upgrade": lambda play=play, new=new: run(*play, json.dumps(new), "site.yml", cwd=PROJECT),
                "rollback": lambda play=play, known=known: run(*play, json.dumps(known), "playbooks/rollback.yml", cwd=PROJECT),
            }
            rows += upgrade_bench.rows(what, Client(key_of("shared", "api-keys"), BALANCER, ca, "tiny"), changes)
    return rows


PARTS: dict[str, Callable[[], list[Row]]] = {
    "engine": compare_engines,
    "site": compare_runs,
    "server": compare_ways_in,
    "balancer": compare_ways,
    "warm": compare_warmth,
    "speculation": compare_speculation,
    "advice": compare_expectations,
    "defaults": compare_settings,
    "upgrade": compare_changes,
}


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    rows = [row for part in sys.argv[1:] or PARTS for row in PARTS[part]()]
    print("| what | ratio | measured |\n|---|---|---|")
    for what, ratio, measured in rows:
        print(f"| {what} | {ratio:.2f} | {measured} |")


if __name__ == "__main__":
    main()
