# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The key map: the file that HAProxy reads, and the commands that update its running processes.

A line of the file is ``SHA256 ROLE/NAME/EXPIRES``. A caller whose key has no line is refused. An administrator has a second line,
which starts with ``certificate/`` and the name instead of a hash, for client certificates that replace a key. HAProxy reads the
file when it starts. Changes are sent through the socket of its master process, which knows all workers, including old ones after
a reload. No message contains a hash: for a short key, the hash would be as good as the key.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError, kind_of
from ansible_collections.slm.copilot.plugins.module_utils._common.names import KEY_NAME

ROLES = ("developer", "admin", "balancer", "monitor")
HEADER = "# Who may ask: SHA-256 of a key, or certificate/name, and role/name/end. Written by slm.copilot.gateway_keys.\n"
CERTIFICATE = "certificate/"
NEVER = 0  # as the time when a key ends

_SHA256 = re.compile(r"[0-9a-f]{64}")
# HAProxy takes a command that fits into its buffer, of 16 KiB and more; a line has 200 bytes at most.
_LINES_OF_A_COMMAND = 50

# The words of a line: a key's hash or a certificate's name, and its value.
Pair = tuple[str, str]
Ask = Callable[[str], str]


@dataclass(frozen=True, order=True)
class Key:
    """An accepted key: its owner and role, and its expiry in seconds since 1970."""

    name: str
    role: str
    sha256: str
    expires: int = NEVER

    @property
    def stands_for(self) -> str:
        return f"{self.role}/{self.name}/{self.expires}"


@dataclass(frozen=True)
class Worker:
    """A worker of HAProxy, and the keys that it had; None if its configuration has no such map."""

    pid: int
    before: list[Pair] | None


def key_problems(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the problems of entries of ``gateway_keys``, one sentence each."""
    problems = []
    seen: dict[Any, tuple[str, Mapping[str, Any]]] = {}
    for number, entry in enumerate(entries, 1):
        name, sha256 = entry.get("name"), entry.get("sha256")
        named = isinstance(name, str) and KEY_NAME.fullmatch(name)
        who = f"gateway_keys[{number}]" + (f" ({name})" if named else "")
        if not named:
            problems.append(
                f"{who}: the name is {kind_of(name)} that HAProxy cannot pass on: give 1 to 64 letters, digits, '.', '_', '@', "
                "'+' or '-', the first one a letter or a digit."
            )
        if entry.get("role") not in ROLES:
            problems.append(f"{who}: the role is not known: choose one of {', '.join(ROLES)}.")
        if _seconds(entry.get("expires", NEVER)) is None:
            problems.append(f"{who}: expires is no time: give whole seconds since 1970, or {NEVER} for a key that does not end.")
        if not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
            problems.append(
                f"{who}: sha256 is no SHA-256: give its 64 lower-case hexadecimal digits, as the filter hash('sha256') makes "
                "them."
            )
        elif sha256 in seen and seen[sha256][1] != entry:
            problems.append(
                f"{who}: {seen[sha256][0]} has the same key, so callers could not be identified, nor one key revoked alone: "
                "give each a key of its own."
            )
        else:
            seen[sha256] = who, entry
    return problems


def keys_of(entries: Sequence[Mapping[str, Any]]) -> list[Key]:
    """Returns the keys, sorted, each once. Raises CopilotError where ``key_problems`` finds something."""
    if problems := key_problems(entries):
        raise CopilotError(" ".join(problems))
    return sorted({Key(e["name"], e["role"], e["sha256"], _seconds(e.get("expires", NEVER)) or NEVER) for e in entries})


def _seconds(value: Any) -> int | None:
    text = "" if isinstance(value, bool) else str(value)
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def pairs_of(keys: Sequence[Key]) -> list[Pair]:
    """Returns the content of a map: the keys, and administrators by the names in their certificates, as HAProxy encodes them.

    Of somebody with several keys the one that ends last counts.
    """
    lasting = {key.name: key for key in sorted(keys, key=lambda key: key.expires or float("inf")) if key.role == "admin"}
    certificates = [(CERTIFICATE + quote(name, safe=""), key.stands_for) for name, key in sorted(lasting.items())]
    return [*((key.sha256, key.stands_for) for key in keys), *certificates]


def render(pairs: Iterable[Pair]) -> bytes:
    return (HEADER + "".join(f"{what} {stands_for}\n" for what, stands_for in pairs)).encode()


def parse(content: bytes) -> list[Pair]:
    """Returns the entries of a file, whoever wrote it."""
    lines = (line.strip() for line in content.decode(errors="replace").splitlines())
    return [_pair(line) for line in lines if line and not line.startswith("#")]


def _pair(line: str) -> Pair:
    sha256, _space, entry = line.partition(" ")
    return sha256, entry.strip()


def described(pairs: Iterable[Pair], before: Iterable[Pair] = ()) -> str:
    """Returns one line for each key, without the key: the form in which people see a map.

    :param before: what was there before. A key that takes the place of another is called a new one.
    """
    known = set(before)
    words_before = Counter(_words(pair) for pair in known)
    lines = []
    for pair in pairs:
        words = _words(pair)
        lines.append(f"{words} (a new key)\n" if pair not in known and words_before[words] else f"{words}\n")
    return "".join(sorted(lines))


def _words(pair: Pair) -> str:
    role, name, expires = [*pair[1].split("/"), "", ""][:3]
    end = _seconds(expires)
    if not name or end is None:
        return "(not ours)"
    by = " by certificate" if pair[0].startswith(CERTIFICATE) else ""
    return f"{name} {role}{by}" + (f" until {_day(end)}" if end != NEVER else "")


def _day(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s since 1970"


def settle(ask: Ask, path: str, wanted: Sequence[Pair], change: bool) -> list[Worker]:
    """Updates the keys in every worker of a running HAProxy, and verifies the result.

    :param ask: gives the master process a command and returns its answer.
    :param path: the map's file, by which HAProxy knows it.
    :param change: whether to change anything, or only to look.
    :raises CopilotError: when a worker does not take them.
    """
    return [worker for pid in workers_of(ask("show proc")) if (worker := _settle_one(ask, pid, path, sorted(wanted), change))]


def _settle_one(ask: Ask, pid: int, path: str, wanted: list[Pair], change: bool) -> Worker | None:
    """Returns None for a worker that has ended since."""
    try:
        before = _shown(ask, pid, path)
        if change and before is not None and before != wanted:
            version = version_of(_done(pid, ask(f"@!{pid} prepare map {path}")))
            for command in additions(pid, path, version, wanted):
                _quiet(pid, ask(command))
            _quiet(pid, ask(f"@!{pid} commit map @{version} {path}"))
            after = _shown(ask, pid, path)
            if after != wanted:
                raise CopilotError(
                    f"process {pid} of HAProxy has {len(after or [])} keys instead of {len(wanted)}. Until it "
                    "has them, a revoked key may still work there: restart the gateway's service, which aborts its requests"
                )
    except _EndedError:
        return None
    return Worker(pid, before)


class _EndedError(Exception):
    """A worker is no longer there."""


def _done(pid: int, answer: str) -> str:
    if answer.startswith("Can't find the target PID"):
        raise _EndedError(pid)
    return answer


def _quiet(pid: int, answer: str) -> None:
    if said := _done(pid, answer).strip():
        raise CopilotError(f"process {pid} of HAProxy refused the keys: {_without_hashes(said)}")


def _without_hashes(text: str) -> str:
    return re.sub(r"[0-9a-fA-F]{16,}", "…", text)[:300]


def _shown(ask: Ask, pid: int, path: str) -> list[Pair] | None:
    return shown(_done(pid, ask(f"@!{pid} show map {path}")))


def workers_of(answer: str) -> list[int]:
    """Parses ``show proc``: returns the process IDs of all workers, including old ones."""
    return [int(found[1]) for found in re.finditer(r"^(\d+)[ \t]+worker\b", answer, re.MULTILINE)]


def shown(answer: str) -> list[Pair] | None:
    """Parses ``show map``: returns its sorted entries, or None if there is no such map. Each line starts with an address."""
    if answer.startswith("Unknown map"):
        return None
    lines = [line.split(" ", 1) for line in answer.splitlines() if line.strip()]
    if not all(len(line) == 2 and line[0].startswith("0x") for line in lines):
        raise CopilotError(f"HAProxy's answer is not a map: {_without_hashes(answer)}")
    return sorted(_pair(line[1]) for line in lines)


def version_of(answer: str) -> int:
    """Parses ``prepare map``: returns the number of the new version."""
    found = re.search(r"New version created: (\d+)", answer)
    if not found:
        raise CopilotError(f"HAProxy did not start a new version of its key map: {_without_hashes(answer)}")
    return int(found[1])


def additions(pid: int, path: str, version: int, pairs: Sequence[Pair]) -> Iterator[str]:
    """Yields the commands that fill and commit a version. Until the commit, the previous version stays in effect."""
    for first in range(0, len(pairs), _LINES_OF_A_COMMAND):
        lines = "".join(f"{sha256} {entry}\n" for sha256, entry in pairs[first : first + _LINES_OF_A_COMMAND])
        yield f"@!{pid} add map @{version} {path} <<\n{lines}"


def answer_in(received: str) -> str | None:
    """Returns the answer to a command once it is complete, that is, followed by a new prompt; else None."""
    found = re.fullmatch(r"(?s)(?:\+ )*(.*?)\n?master(?:\[ReloadFailed\])?> ", received)
    return found[1].strip("\n") if found else None
