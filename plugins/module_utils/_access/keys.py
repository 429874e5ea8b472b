# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file of named API keys. A comment before each key has its name::

    # API keys, each under its name. Managed by slm.copilot.api_key.
    # name: alice
    sk-...

No error message contains a key or any other content of the file.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.names import KEY_NAME

HEADER = "# API keys, each under its name. Managed by slm.copilot.api_key."
NAME_PREFIX = "# name: "
RANDOM_BYTES = 32  # 256 bits
MIN_LENGTH = 16
MAX_LENGTH = 512  # a whole header line must fit into 8 KiB, and longer keys are no safer

_NAME_RULE = "1 to 64 letters, digits, '.', '_', '@', '+' or '-', the first one a letter or a digit"


@dataclass(frozen=True)
class KeyRequest:
    """What one entry of the module's ``keys`` asks for."""

    name: str
    state: str = "present"
    value: str | None = None


@dataclass(frozen=True)
class KeyPlan:
    """The keys the file shall hold, and what happens to each name that changes."""

    keys: dict[str, str]
    changes: dict[str, str]  # name -> added, replaced, rotated or removed


def generate_key() -> str:
    return "sk-" + secrets.token_urlsafe(RANDOM_BYTES)


def key_fault(value: str) -> str | None:
    """Why ``value`` cannot be an API key, in words that do not show it."""
    if not MIN_LENGTH <= len(value) <= MAX_LENGTH:
        return f"has {len(value)} character{'s' if len(value) != 1 else ''}, and must have {MIN_LENGTH} to {MAX_LENGTH}"
    if not all("!" <= character <= "~" for character in value):
        return "has a space, a control character or a character outside ASCII, which cannot be sent in a header"
    if value.startswith("#"):
        return "starts with '#', which makes a line a comment"
    return None


def parse_key_file(content: bytes) -> dict[str, str]:
    """Names and keys of a file that this collection wrote, in the order of the file."""
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise CopilotError("it is not ASCII text") from None  # the cause would show its content
    if not lines or lines[0] != HEADER:
        raise CopilotError(f"its first line is not '{HEADER}'")
    keys: dict[str, str] = {}
    name: str | None = None
    for number, line in enumerate(lines[1:], start=2):
        if name is None:
            name = line[len(NAME_PREFIX) :] if line.startswith(NAME_PREFIX) else ""
            if not KEY_NAME.fullmatch(name):
                raise CopilotError(f"line {number} is not '{NAME_PREFIX}' and a name ({_NAME_RULE})")
            if name in keys:
                raise CopilotError(f"line {number} has the name '{name}' a second time")
        else:
            fault = key_fault(line)
            if fault:
                raise CopilotError(f"the key of '{name}' in line {number} {fault}")
            keys[name] = line
            name = None
    if name is not None:
        raise CopilotError(f"the name '{name}' in the last line has no key after it")
    return keys


def render_key_file(keys: Mapping[str, str]) -> bytes:
    lines = [HEADER]
    for name, value in keys.items():
        lines += [NAME_PREFIX + name, value]
    return ("\n".join(lines) + "\n").encode("ascii")


def check_requests(requests: Sequence[KeyRequest]) -> None:
    """Refuse what cannot be done, before any file is read."""
    seen: set[str] = set()
    for position, request in enumerate(requests, start=1):
        if not KEY_NAME.fullmatch(request.name):
            raise CopilotError(f"keys: the name of entry {position} must be {_NAME_RULE}")
        if request.name in seen:
            raise CopilotError(f"keys: the name '{request.name}' is listed twice; keep one of the entries")
        seen.add(request.name)
        if request.value is None:
            continue
        if request.state != "present":
            raise CopilotError(
                f"keys: '{request.name}' has a value and state={request.state}; "
                "a value goes with state=present only, which also replaces a key"
            )
        fault = key_fault(request.value)
        if fault:
            raise CopilotError(f"keys: the value of '{request.name}' {fault}; give another, or none to generate one")


def plan_keys(
    existing: Mapping[str, str],
    requests: Sequence[KeyRequest],
    exclusive: bool = False,
    generate: Callable[[], str] = generate_key,
) -> KeyPlan:
    """Decide on the new content; names keep their place, new ones come last."""
    check_requests(requests)
    keys = dict(existing)
    changes: dict[str, str] = {}
    listed = {request.name for request in requests}
    if exclusive:
        for name in existing:
            if name not in listed:
                del keys[name]
                changes[name] = "removed"
    for request in requests:
        name = request.name
        if request.state == "absent":
            if keys.pop(name, None) is not None:
                changes[name] = "removed"
        elif name not in keys:
            keys[name] = request.value or generate()
            changes[name] = "added"
        elif request.state == "rotated":
            keys[name] = generate()
            changes[name] = "rotated"
        elif request.value is not None and request.value != keys[name]:
            keys[name] = request.value
            changes[name] = "replaced"

    owners: dict[str, str] = {}
    for name, value in keys.items():
        if value in owners:
            raise CopilotError(
                f"keys: '{owners[value]}' and '{name}' have the same value, so one could not be revoked without "
                "the other; give each its own"
            )
        owners[value] = name
    if existing and not keys:
        raise CopilotError(
            "keys: this would remove the last key, so nobody could authenticate any more; keep or add one, or remove the file"
        )
    return KeyPlan(keys=keys, changes=changes)


def diff_lines(existing: Mapping[str, str], plan: KeyPlan) -> tuple[str, str]:
    """The texts before and after for ``--diff``: names, and what happens to them."""
    before = "".join(f"{name}\n" for name in existing)
    after = "".join(
        f"{name} ({plan.changes[name]})\n" if plan.changes.get(name) in ("rotated", "replaced") else f"{name}\n"
        for name in plan.keys
    )
    return before, after


def first_key(content: bytes) -> str:
    """The first key of a file with one key in each line, ours or not."""
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise CopilotError("it is not ASCII text") from None
    for line in lines:
        if line and not line.startswith("#"):
            fault = key_fault(line)
            if fault:
                raise CopilotError(f"its first key {fault}")
            return line
    raise CopilotError("it holds no key")


def named_key(content: bytes, name: str) -> str:
    keys = parse_key_file(content)
    if name not in keys:
        raise CopilotError(f"it has no key named '{name}', only {', '.join(keys) or 'none at all'}")
    return keys[name]


def read_key(path: str, name: str | None = None) -> str:
    """Returns the key of that name in a file, or its first one. Raises CopilotError, as for the option ``api_key_file``."""
    try:
        content = Path(path).read_bytes()
        return named_key(content, name) if name else first_key(content)
    except OSError as error:
        raise CopilotError(f"api_key_file: {path} cannot be read: {error.strerror}") from None
    except CopilotError as error:
        raise CopilotError(f"api_key_file: {path} cannot be used: {error}") from None


def with_keys_in_use(requests: Sequence[Mapping[str, Any]], in_use: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Returns entries in the form of the module's option ``keys``. An entry without a key gets the one in use, if any.

    :param requests: entries with a name, and perhaps a state and a key. What else they say is left out.
    :param in_use: names and keys of each place where there are some; the first that has a name counts.
    """
    known = {name: key for keys in reversed(in_use) for name, key in keys.items()}
    taken = []
    for request in requests:
        state = request.get("state", "present")
        value = request.get("key") or request.get("value") or (known.get(request["name"]) if state == "present" else None)
        taken.append({"name": request["name"], "state": state, "value": value})
    return taken


def keys_that_differ(in_use: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns the names that have different keys in different places, sorted."""
    values: dict[str, set[str]] = {}
    for keys in in_use:
        for name, key in keys.items():
            values.setdefault(name, set()).add(key)
    return sorted(name for name, different in values.items() if len(different) > 1)
