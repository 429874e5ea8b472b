# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removes fields of answers that reveal something about other developers: the numbers of cached and of drafted tokens depend on
what everybody has sent. Only administrators get them, and balancers, which need them to choose servers. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from .slots import Role

MAY_READ = (Role.ADMIN, Role.BALANCER)
# Fields of ``timings`` about cached, processed and drafted tokens.
HINTS = frozenset({"cache_n", "prompt_n", "prompt_per_token_ms", "prompt_per_second", "draft_n", "draft_n_accepted"})
DETAILS = ("prompt_tokens_details", "input_tokens_details")
MENTIONED = re.compile(rb'"(timings|cached_tokens|cache_read_input_tokens|prompt_progress)"')
EVENT_END = re.compile(rb"\r?\n\r?\n")


def may_read(role: str) -> bool:
    """Returns whether who asks may know what others sent."""
    return role in MAY_READ


def discreet(content: bytes) -> bytes:
    """Returns an answer, or whole events of a stream, without what tells of others; the same where there is nothing of it.

    All tokens of a prompt count as computed then, so that nothing is missing that a client expects.
    """
    if not MENTIONED.search(content):
        return content
    return _json(content) if content.lstrip().startswith((b"{", b"[")) else b"\n".join(map(_line, content.split(b"\n")))


class Discretion:
    """Filters a streamed answer, in whole events if something may have to be removed.

    :param role: who asks.
    :param stream: it has events; all else passes as it is.
    """

    def __init__(self, role: str, *, stream: bool = True) -> None:
        self._open = may_read(role) or not stream
        self._kept: list[bytes] = []  # parts of an incomplete event, which may be long; joined once
        self._last = b""  # end of the kept data, which may contain the start of an event's end

    def piece(self, content: bytes) -> bytes:
        """Returns what can be passed on once this piece is there."""
        if self._open:
            return content
        ends = [found.end() for found in EVENT_END.finditer(self._last + content)]
        if not ends:
            self._kept.append(content)
            self._last = (self._last + content)[-3:]
            return b""
        end = ends[-1] - len(self._last)
        passed = b"".join([*self._kept, content[:end]])
        self._kept, self._last = [content[end:]], content[end:][-3:]
        return discreet(passed)

    def rest(self) -> bytes:
        """Returns what was kept back when the stream ended in the middle of an event."""
        return discreet(b"".join(self._kept))


def _line(line: bytes) -> bytes:
    if not line.startswith(b"data:") or not MENTIONED.search(line):
        return line
    return b"data: " + _json(line.removeprefix(b"data:"))


def _json(content: bytes) -> bytes:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return content
    places = said if isinstance(said, list) else [said]
    for place in places:
        _without_hints(place, ("response", "message"))
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def _without_hints(said: Any, inside: Collection[str]) -> None:
    if not isinstance(said, dict):
        return
    if isinstance(times := said.get("timings"), dict):
        said["timings"] = {name: value for name, value in times.items() if name not in HINTS}
    if isinstance(progress := said.get("prompt_progress"), dict) and "cache" in progress:
        progress["cache"] = 0
    if isinstance(usage := said.get("usage"), dict):
        for name in DETAILS:
            if isinstance(details := usage.get(name), dict) and "cached_tokens" in details:
                details["cached_tokens"] = 0
        held = usage.get("cache_read_input_tokens")
        if isinstance(held, int) and isinstance(usage.get("input_tokens"), int):
            usage["input_tokens"] += held
            usage["cache_read_input_tokens"] = 0
    for name in inside:
        _without_hints(said.get(name), ())
