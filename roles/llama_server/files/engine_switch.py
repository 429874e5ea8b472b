# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restarts llama-server with the installed version, and rolls back to the previous one if it is not healthy.

A version consists of the unit, the presets of the models, and the link to the engine. Once a version has proved healthy, a copy
is kept. Before a restart with a different version, a timer is armed, which restores the copy unless it is disarmed in time. So a
rollback also happens if this program is killed or the host goes down. A version that was not healthy is refused from then on,
until it differs in some way. If both versions save slots, the conversations in them survive the restart.

``switch`` restarts llama-server, ``leave`` restores the files after a restart that did not begin, ``expire`` is for the timer,
and ``back`` rolls back to the previous version.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

try:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    AESGCM = None

PROBES_BEFORE = 3
PROBES_AFTER = 10  # one must be fast enough: other work on the host slows some
PROMPT = "word " * 100
SPEEDS = {"prompt_per_second": "prompts", "predicted_per_second": "answers"}
# The question that shows whether answers still make sense, and the maximum length of the answer in tokens. Some models think
# first, so they get more tokens after the change.
QUESTION, TOKENS_BEFORE, TOKENS_AFTER = "Which day is today?", 64, 256
BEGINNING, LIKELY = "The capital of France is the city of", 10
TOOL = {"name": "today", "description": "Tells the date", "parameters": {"type": "object", "properties": {}}}

STATES = Path("/var/tmp")  # where encrypted states of slots are, on a disk
STATE = "state"  # name of the file that llama-server writes and reads
CHUNK, TAG = 1 << 22, 16  # bytes that are encrypted together, and what that adds
SPARE = 1 << 30  # bytes that stay free on the disk
LEAST_TOKENS = 256  # in a slot, to be worth saving
KEPT_SECONDS = 3600.0
ERASES = "slm-copilot-erase-states"  # systemd's name for what erases plain states if this process is killed

CHAT = "/v1/chat/completions"
ABILITIES = frozenset({"answers", "streams", "calls tools"})
# Errors of a connection, and of answers in an unexpected form.
FAULTS = (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError, AttributeError)


class NotWell(Exception):
    """The current version is not healthy. The message says why."""


class UnixConnection(http.client.HTTPConnection):
    """Connects to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=300)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclasses.dataclass
class Shown:
    """Measured speed and abilities of an engine. If it is empty, there is nothing to compare with.

    :ivar speed: tokens per second, by name of the measurement.
    :ivar able: the abilities that it showed.
    :ivar likely: the IDs of the likeliest next tokens.
    """

    speed: dict[str, float] = dataclasses.field(default_factory=dict)
    able: set[str] = dataclasses.field(default_factory=set)
    likely: set[int] = dataclasses.field(default_factory=set)


class Engine:
    """Measures a llama-server. All requests go to the model that was loaded at the first one."""

    def __init__(self, path: str) -> None:
        self._path, self._name = path, ""

    def speed(self) -> dict[str, float]:
        """Returns tokens per second of a short prompt and its answer; empty if no model is loaded that reports them."""
        found: dict[str, float] = {}
        with contextlib.suppress(*FAULTS):
            if body := self._model():
                body |= {"prompt": PROMPT, "n_predict": 16, "ignore_eos": True, "cache_prompt": False, "temperature": 0}
                timings = self._ask("POST", "/completion", body)["timings"]
                found = {name: float(timings[name]) for name in SPEEDS}
        return found

    def likely(self) -> set[int]:
        """Returns the IDs of the likeliest tokens after a few words; empty if it does not report them."""
        with contextlib.suppress(*FAULTS):
            if body := self._model():
                body |= {"prompt": BEGINNING, "n_predict": 1, "n_probs": LIKELY, "cache_prompt": False, "temperature": 0}
                first = self._ask("POST", "/completion", body)["completion_probabilities"][0]["top_logprobs"]
                return {int(one["id"]) for one in first if isinstance(one["logprob"], (int, float))}
        return set()

    def able(self, tokens: int, wanted: Collection[str] = ABILITIES) -> set[str]:
        """Returns which of the wanted abilities it shows."""
        found: set[str] = set()
        with contextlib.suppress(*FAULTS):
            if body := self._model():
                body |= {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 8}
                if "answers" in wanted and self._ask("POST", CHAT, body)["usage"]["completion_tokens"]:
                    found.add("answers")
                if "streams" in wanted and self._said("POST", CHAT, {**body, "stream": True}).rstrip().endswith(b"data: [DONE]"):
                    found.add("streams")
                if "calls tools" in wanted:
                    tools = {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required", "max_tokens": tokens}
                    calls = self._ask("POST", CHAT, {**body, **tools})["choices"][0]["message"].get("tool_calls") or []
                    if [one["function"]["name"] for one in calls][:1] == [TOOL["name"]]:
                        found.add("calls tools")
        return found

    def idle_slots(self) -> list[int]:
        """Returns the slots without a request. Raises one of FAULTS."""
        return [one["id"] for one in self._ask("GET", "/slots") if not one["is_processing"]]

    def slot(self, number: int, action: str) -> int:
        """Saves or restores a slot, and returns its number of tokens. Raises one of FAULTS."""
        said = self._ask("POST", f"/slots/{number}?action={action}", {"filename": STATE})
        return int(said["n_saved" if action == "save" else "n_restored"])

    def tell(self, router: str, tokens: list[int]) -> None:
        """Tells the router which conversations were restored."""
        with contextlib.suppress(*FAULTS):
            Engine(router)._said("POST", "/router/restored", {**self._model(), "tokens": tokens})

    def older_than(self, path: str) -> bool:
        """Returns whether it started before a file was last changed. Raises OSError."""
        return os.stat(self._path).st_mtime < os.stat(path).st_ctime

    def _model(self) -> dict[str, Any]:
        """Returns the start of a request's body; empty if no model is loaded."""
        if not self._name:
            models = self._ask("GET", "/models")["data"]
            ready = [one["id"] for one in models if one.get("status", {"value": "loaded"})["value"] == "loaded"]
            self._name = ready[0] if ready else ""
        return {"model": self._name} if self._name else {}

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self._said(method, path, body))

    def _said(self, method: str, path: str, body: Any = None) -> bytes:
        connection = UnixConnection(self._path)
        try:
            head = {"Content-Type": "application/json", "X-Copilot-Role": "admin"}  # the role is for the router
            connection.request(method, path, body and json.dumps(body), head)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise OSError(f"status {answer.status}")
        return text


class Conversations:
    """The states of slots during a restart.

    A state contains the whole conversation. Its plain file is in memory, in a directory of llama-server, and only while it is
    copied. On the disk it is encrypted with a key that only this process has, in a file without a name: it is gone with this
    process, however that ends.

    :param directory: llama-server's ``--slot-save-path``.
    :param router: Unix socket of the router.
    """

    def __init__(self, engine: Engine, directory: str, router: str) -> None:
        self._engine, self._directory, self._router = engine, directory, router
        self._saved: dict[int, IO[bytes]] = {}  # slot -> its encrypted state
        self._since = 0.0

    def save(self, paths: list[str]) -> None:
        """Saves the slots, as far as that is possible.

        :param paths: of the models: a model that was replaced since the start will not understand a state.
        """
        try:
            if AESGCM is None:
                raise OSError("python3-cryptography is missing")
            if any(map(self._engine.older_than, paths)):
                raise OSError("the model was replaced")
            self._cipher, self._since = AESGCM(AESGCM.generate_key(256)), time.monotonic()
            with self._erased():
                for number in self._engine.idle_slots():
                    if self._engine.slot(number, "save") >= LEAST_TOKENS:
                        self._keep(number)
        except FAULTS as error:
            print(f"conversations are not kept: {error}")

    def restore(self) -> None:
        """Restores the slots that were saved, and erases the states."""
        if not self._saved:
            return
        found = []
        with self._erased():
            for number, state in self._saved.items():
                with state, contextlib.suppress(Exception):  # without its state, a conversation starts cold
                    if time.monotonic() - self._since < KEPT_SECONDS:
                        self._provide(number, state)
                        found.append(self._engine.slot(number, "restore"))
        self._engine.tell(self._router, found)
        print(f"{len(found)} of {len(self._saved)} conversations were kept, with {sum(found)} tokens")
        self._saved.clear()

    def _keep(self, number: int) -> None:
        """Encrypts the plain state of a slot."""
        folder = os.open(self._directory, os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            # The directory is llama-server's: a link in it would make root read another file.
            plain = os.open(STATE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            with os.fdopen(plain, "rb") as source, contextlib.ExitStack() as stack:
                seen = os.fstat(plain)
                if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.fstat(folder).st_uid:
                    raise OSError("llama-server saved no file of its own")
                if shutil.disk_usage(STATES).free < seen.st_size + SPARE:
                    raise OSError(f"{STATES} has no room for {seen.st_size >> 20} MiB")
                target = stack.enter_context(tempfile.TemporaryFile(dir=STATES))
                for place, chunk in enumerate(iter(lambda: source.read(CHUNK), b"")):
                    target.write(self._cipher.encrypt(nonce(number, place), chunk, None))
                self._saved[number] = target
                stack.pop_all()
        finally:
            os.close(folder)

    def _provide(self, number: int, state: IO[bytes]) -> None:
        """Writes a plain state where llama-server reads it."""
        state.seek(0)
        folder = os.open(self._directory, os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(STATE, dir_fd=folder)
            plain = os.open(STATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
            with os.fdopen(plain, "wb") as target:
                owner = os.fstat(folder)
                os.fchown(plain, owner.st_uid, owner.st_gid)
                for place, chunk in enumerate(iter(lambda: state.read(CHUNK + TAG), b"")):
                    target.write(self._cipher.decrypt(nonce(number, place), chunk, None))
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _erased(self) -> Iterator[None]:
        """Leaves no plain state in memory. If this process is killed, systemd erases it within an hour."""
        erase = ("find", self._directory, "-type", "f", "-delete")
        run("systemd-run", "--quiet", "--collect", f"--unit={ERASES}", f"--on-active={KEPT_SECONDS:g}", *erase)
        try:
            yield
        finally:
            run(*erase)
            run("systemctl", "stop", f"{ERASES}.timer")


class Switch:
    """The installed version, kept versions and the refused version."""

    def __init__(self, folder: Path, record: Path, unit: Path, presets: Path, engine: Path, timer: str) -> None:
        self._folder, self._record, self._timer = folder, record, timer
        self._unit, self._presets, self._engine = unit, presets, engine

    def now(self) -> dict[str, str]:
        """Returns the version of the next start: the content of each file, and the target of the link."""
        files = {str(path): path.read_text() for path in (self._unit, self._presets) if path.exists()}
        return {**files, str(self._engine): os.readlink(self._engine)}

    def kept(self, name: str) -> dict[str, str]:
        """Returns a kept version: ``good`` is the last healthy one, ``previous`` the one before; empty if there is none."""
        try:
            found: dict[str, str] = json.loads((self._folder / f"{name}.json").read_text())
        except (OSError, ValueError):
            return {}
        there = self._engine.parent / found.get(str(self._engine), "")
        return found if there.is_dir() else {}  # its engine may have been removed since

    def keep(self) -> None:
        """Keeps the current version as the last healthy one."""
        now, good = self.now(), self.kept("good")
        if good and good != now:
            self._write("previous", good)
        self._write("good", now)

    def arm(self, seconds: float) -> None:
        """Arms the timer, which rolls back after so many seconds unless it is disarmed. Raises NotWell if it does not start."""
        self._write("armed", {"until": time.time() + seconds})
        run("systemctl", "daemon-reload")
        status, said = run("systemctl", "enable", "--quiet", "--now", self._timer)
        if status:
            self.disarm()
            raise NotWell(f"the rollback timer {self._timer} does not start, so llama-server was not restarted: {said[-300:]}")

    def disarm(self) -> None:
        (self._folder / "armed.json").unlink(missing_ok=True)
        run("systemctl", "disable", "--quiet", "--now", "--no-block", self._timer)

    def overdue(self) -> bool:
        try:
            return bool(time.time() >= json.loads((self._folder / "armed.json").read_text())["until"])
        except FileNotFoundError:
            return False

    def refusal(self) -> str:
        """Returns why the installed version is refused; empty if it is not."""
        try:
            refused = json.loads((self._folder / "refused.json").read_text())
        except (OSError, ValueError):
            return ""
        return str(refused["reason"]) if refused["what"] == fingerprint(self.now()) else ""

    def refused_since(self, begin: float) -> str:
        """Returns why another restart refused a version since then; empty if none did."""
        try:
            refused = self._folder / "refused.json"
            return str(json.loads(refused.read_text())["reason"]) if refused.stat().st_mtime > begin else ""
        except (OSError, ValueError):
            return ""

    def refuse(self, reason: str) -> None:
        """Records that the installed version is refused, with the reason."""
        self._write("refused", {"what": fingerprint(self.now()), "reason": reason})

    def bring_back(self, kept: dict[str, str]) -> None:
        """Restores a kept version. Does not restart llama-server."""
        for path in (self._unit, self._presets):
            if str(path) in kept:
                replace(path, kept[str(path)])
            else:
                path.unlink(missing_ok=True)
        if os.readlink(self._engine) != kept[str(self._engine)]:
            temporary = self._engine.with_name(".current.back")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(kept[str(self._engine)])
            os.replace(temporary, self._engine)
        self._note()

    def _note(self) -> None:
        """Updates the record of installed files with the restored ones."""
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return
        for path in (self._unit, self._presets):
            if str(path) in record["paths"] and path.exists():
                record["paths"][str(path)] = "file " + hashlib.sha256(path.read_bytes()).hexdigest()
        replace(self._record, json.dumps(record))

    def _write(self, name: str, content: Any) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        replace(self._folder / f"{name}.json", json.dumps(content), 0o600)


def replace(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces a file atomically, with the owner and mode of the existing one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if path.exists():
            before = path.stat()
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
            mode = before.st_mode & 0o7777
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def fingerprint(what: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def models(what: dict[str, str]) -> list[str]:
    """Returns the paths of the models in a version."""
    return sorted({found for text in what.values() for found in re.findall(r"^\s*(?:--)?model[ =]+(\S+)", text, re.MULTILINE)})


def cache_types(what: dict[str, str]) -> list[str]:
    """Returns the options of a version that decide about the form of a slot's state."""
    return sorted(found for text in what.values() for found in re.findall(r"--cache-type-[kv][ =]+\S+", text))


def slots_directory(what: dict[str, str]) -> str:
    """Returns where a version saves the states of slots; empty if it does not."""
    return next((found for text in what.values() for found in re.findall(r"--slot-save-path[ =]+(\S+)", text)), "")


def nonce(slot: int, place: int) -> bytes:
    """Returns the number of a chunk, which no other chunk has."""
    return slot.to_bytes(4, "big") + place.to_bytes(8, "big")


def run(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout.strip()


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a lock, so that the timer and a restart do not decide at the same time."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def restart(unit: str) -> None:
    """Restarts the unit, and returns once its model has answered. Raises NotWell if it does not start."""
    run("systemctl", "daemon-reload")
    run("systemctl", "reset-failed", unit)
    run("systemctl", "enable", "--quiet", unit)
    if run("systemctl", "restart", unit)[0]:
        raise NotWell("it does not start")


def fast_enough(engine: Engine, before: dict[str, float], slowdown: float, than: str = "") -> None:
    """Raises NotWell if the engine is much slower than before.

    :param before: tokens per second, by name of the measurement; if it is empty, there is nothing to compare with.
    :param slowdown: the maximum slowdown in percent.
    :param than: what the speed is compared with, for the message, if not with the version before.
    """
    best: dict[str, float] = {}
    for probe in range(PROBES_AFTER if before else 0):
        time.sleep(min(2.0, probe / 2))
        now = engine.speed()
        best = {name: max(best.get(name, 0.0), now.get(name, 0.0)) for name in before}
        if all(best[name] >= before[name] * (1 - slowdown / 100) for name in before):
            return
    slow = [f"{word} {best[name]:.1f} instead of {before[name]:.1f} tokens/s" for name, word in SPEEDS.items() if name in before]
    if slow:
        raise NotWell(f"it is more than {slowdown:g} % slower{than} ({', '.join(slow)}); copilot_gate_slowdown sets the limit")


def within_memory(unit: str) -> None:
    """Raises NotWell if the engine takes more memory than was planned, as the kernel does not prevent on all hosts."""
    limit, main = (
        run("systemctl", "show", f"--property={name}", "--value", unit)[1].strip() for name in ("MemoryMax", "MainPID")
    )
    if not limit.isdecimal() or not main.isdecimal():
        return
    used = sum(map(anonymous, processes(int(main))))
    if used > int(limit):
        raise NotWell(f"it takes {used >> 20} MiB of memory, and the memory plan allows {int(limit) >> 20} MiB")


def processes(main: int) -> list[int]:
    """Returns a process and all that it started."""
    found = [main]
    for pid in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def anonymous(pid: int) -> int:
    """Returns the memory of a process in bytes, without the pages of files, which the kernel can drop."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        return sum(int(size) << 10 for size in re.findall(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE))
    return 0


def answers_as_before(engine: Engine, before: Shown) -> None:
    """Raises NotWell if the engine lost an ability, or its likeliest tokens have nothing in common with those of before."""
    missing = before.able
    for probe in range(PROBES_BEFORE if missing else 0):
        time.sleep(probe)
        missing = missing - engine.able(TOKENS_AFTER, missing)
        if not missing:
            break
    if missing:
        raise NotWell(f"it no longer {' or '.join(sorted(missing))}")
    if before.likely and not before.likely & engine.likely():
        raise NotWell(
            f"its answers make no sense, or come from another model: none of the {LIKELY} likeliest next words "
            "before the change is among the likeliest now"
        )


def shown(engine: Engine) -> Shown:
    """Measures the engine before a change."""
    found = [engine.speed() for _probe in range(PROBES_BEFORE)]
    speed = {name: max(one[name] for one in found) for name in SPEEDS} if all(found) else {}
    return Shown(speed, engine.able(TOKENS_BEFORE), engine.likely())


def change(switch: Switch, engine: Engine, options: argparse.Namespace) -> None:
    """Restarts llama-server with the installed version. If it is not healthy, rolls back and raises NotWell."""
    good, now = switch.kept("good"), switch.now()
    if good and good != now and not options.force and (reason := switch.refusal()):
        switch.bring_back(good)
        raise NotWell(
            f"this change is refused, because it was rolled back before: {reason}. Change it, or retry with -e copilot_force=true"
        )
    # The restart of a killed run may have rolled back, while this one waited for it, what both had installed.
    if good == now and (reason := switch.refused_since(float(os.environ.get("COPILOT_RESTART_SINCE", "inf")))):
        raise NotWell(f"the restart of an earlier run rolled this change back: {reason}")
    directory = slots_directory(now)
    conversations = Conversations(engine, directory, options.router)
    if directory and all(fact(good) == fact(now) for fact in (models, cache_types, slots_directory)):
        conversations.save(models(now))
    before, than = Shown(), ""
    if good and good != now:
        if models(good) == models(now):
            before = shown(engine)
        elif options.expected:
            before.speed, than = dict(zip(SPEEDS, options.expected)), " than expected of this model on this host"
    if good and good != now:
        try:
            switch.arm(options.seconds)
        except NotWell:
            switch.bring_back(good)
            raise
    try:
        restart(options.unit.name)
        answers_as_before(engine, before)
        fast_enough(engine, before.speed, options.slowdown, than)
        within_memory(options.unit.name)
    except NotWell as error:
        if not good or good == now:
            raise
        with alone(options.folder):
            if switch.now() == now:  # otherwise the timer has rolled back already
                undo(switch, good, options.unit.name, str(error))
        conversations.restore()
        raise NotWell(f"{error}. The previous version was restored, and this change is refused until it differs") from None
    with alone(options.folder):
        if switch.now() != now:
            raise NotWell("it took too long, and the previous version was restored")
        switch.disarm()
        switch.keep()
    conversations.restore()


def undo(switch: Switch, good: dict[str, str], unit: str, reason: str) -> None:
    """Rolls back to a healthy version, and refuses the installed one."""
    switch.refuse(reason)
    switch.bring_back(good)
    switch.disarm()
    restart(unit)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["switch", "leave", "expire", "back"])
    parser.add_argument("--folder", type=Path, required=True, help="folder of the kept versions")
    parser.add_argument("--record", type=Path, required=True, help="record of the installed files")
    parser.add_argument("--unit", type=Path, required=True)
    parser.add_argument("--presets", type=Path, required=True)
    parser.add_argument("--engine", type=Path, required=True, help="link to the current engine")
    parser.add_argument("--socket", required=True, help="Unix socket of llama-server")
    parser.add_argument("--timer", required=True)
    parser.add_argument("--seconds", type=float, default=3600, help="seconds until the timer rolls back")
    parser.add_argument("--slowdown", type=float, default=30, help="maximum slowdown in percent")
    parser.add_argument("--router", default="", help="Unix socket of the router")
    parser.add_argument(
        "--expected",
        type=float,
        nargs=len(SPEEDS),
        help="tokens per second of prompts and answers, to compare another model with",
    )
    parser.add_argument("--force", action="store_true", help="retry a refused change")
    options = parser.parse_args()
    switch = Switch(options.folder, options.record, options.unit, options.presets, options.engine, options.timer)
    try:
        if options.what in ("expire", "leave"):
            with alone(options.folder):
                good = switch.kept("good")
                if good and options.what == "leave":
                    switch.bring_back(good)
                    run("systemctl", "daemon-reload")
                elif good and switch.overdue():
                    undo(switch, good, options.unit.name, "it was not confirmed healthy in time")
            return 0
        if options.what == "back":
            previous = switch.kept("previous")
            if not previous:
                raise NotWell("there is no previous version to roll back to")
            switch.refuse("somebody rolled it back")
            switch.bring_back(previous)
            options.force = True
        change(switch, Engine(options.socket), options)
    except NotWell as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
