# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the cause of a failed start in the journal of llama-server or of the gateway.

The texts are those of llama.cpp 0.5.0 (llama-cpp-python 0.3.36) and systemd 252. Most were seen in real journals, the
others, such as the OOM killer's, come from the sources of the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LAST_LINES = 8
ALERTS = 4

_ALERT = re.compile(r"\[ALERT\] *\(\d+\) : *")
_TAKEN = re.compile(r"Address already in use\) for \[\S*:(\d+)\]")

# llama-server begins a line with its age (0.00.031.819) and a level; journalctl may put date, host and unit before that.
_PREFIX = re.compile(r"^(?:(?:\S+ +){2,4}\S+\[\d+\]: )?(?:\d+\.\d\d\.\d{3}\.\d{3} [A-Z] )?")
_ATTEMPT = re.compile(r"Starting \S+\.service|\S+\.service: Scheduled restart job")
# What follows from a failure, or is always there, and so explains nothing.
_NOISE = re.compile(
    r"Failed with result|Failed to start|Scheduled restart job|Start request repeated|Stopped |Starting |Started "
    r"|cleaning up before exit|exiting due to|Main process exited, code=exited|Control process exited"
    r"|the server has exited|common_params_print_info|llama_server: initializing"
)


def _argument_error(found: re.Match[str]) -> str:
    # stoi and the like are the C++ functions that read numbers.
    reason = "not a number" if re.fullmatch("sto[a-z]+", found["reason"]) else found["reason"]
    return f"llama-server refuses its argument {found['argument']}: {reason}. Correct the variable behind it."


def _model_error(found: re.Match[str]) -> str:
    reason = found["reason"]
    again = "fetch the model again"
    if "unknown model architecture" in reason:
        return f"The engine does not know the model: {reason}. Choose another model, or a newer version of llama.cpp."
    if "not within the file bounds" in reason or "corrupted model" in reason:
        return f"The model's file is truncated or damaged ({reason}); {again}."
    if "unable to allocate" in reason or "mmap failed" in reason:
        return f"There is not enough memory for the model ({reason}). Choose a smaller model or give the host more memory."
    return f"The model cannot be loaded: {reason}. Check that it is complete, and that this version of llama.cpp supports it."


# In the order in which they are looked for. The text is a format over the groups of the match, or a function.
_CAUSES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (
        r"error while loading shared libraries: (?P<library>\S+):",
        "The engine lacks the library {library}. Install the package that provides it, or install the engine again.",
    ),
    (
        r"version `(?P<wanted>(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found",
        "The engine was compiled for a newer system: this one lacks {wanted}. Install the engine again, for this host's release.",
    ),
    (
        r"no backends are loaded",
        "The engine lacks its CPU libraries (libggml-cpu-*.so). Install the engine again.",
    ),
    (
        r"the supplied chat template is not supported|failed to initialize chat template",
        "llama-server cannot use the chat template. Correct it, or leave it out to use the model's own.",
    ),
    (r'while handling argument "(?P<argument>[^"]+)": (?:error: )?(?P<reason>.+)', _argument_error),
    (
        r"error: invalid argument: (?P<argument>\S+)",
        "llama-server has no argument {argument}. Take it out of the extra arguments, or use another version of llama.cpp.",
    ),
    (
        r"couldn't bind HTTP server socket, hostname: (?P<socket>\S+), port: \d+",
        "It cannot listen on {socket}: the service's user may not write to its folder.",
    ),
    (
        r"failed to open GGUF file '(?P<file>.+)' \(Permission denied\)",
        "The service's user may not read the model {file}. Correct the permissions of the file and of its folders.",
    ),
    (
        r"failed to open GGUF file '(?P<file>.+)' \((?P<reason>.+)\)",
        "The model {file} cannot be opened: {reason}. Fetch the model, or correct its path.",
    ),
    (
        r"gguf_init_from_reader: (?P<reason>invalid magic|bad GGUF version|GGUFv1 is no longer|failed to read magic)",
        "The model's file is not in GGUF format, or is empty ({reason}). Fetch the model again.",
    ),
    (
        r"gguf_init_from_reader: (?P<reason>tensor .+ has invalid ggml type \d+)",
        "The engine does not know how this model is quantised ({reason}). Choose another file of the model, or a newer version "
        "of llama.cpp; some files are for a fork of it only.",
    ),
    (
        r"gguf_init_from_reader: (?P<reason>failed to .+)",
        "The model's file is truncated or damaged ({reason}); fetch the model again.",
    ),
    (
        r"gguf_init_from_reader: (?P<reason>this GGUF file .+)",
        "The engine cannot read the model: {reason}. Use a newer version of llama.cpp.",
    ),
    (r"(?P<reason>quantized V cache requires flash_attn)", "The cache types do not fit: {reason} to be enabled."),
    (
        r"insufficient memory \(attempted to allocate (?P<size>[\d.]+ MB)\)"
        r"|(?P<other>failed to allocate .+|std::bad_alloc)",
        "There is not enough memory ({size}{other}). Reduce the context size or the slots, choose a smaller model, "
        "or give the host more memory.",
    ),
    # The loader's own line comes after those that say more.
    (r"error loading model: (?P<reason>(?!llama_model_loader: failed to load).+)", _model_error),
    (
        r"killed by the OOM killer|Failed with result 'oom-kill'|Out of memory: Killed process",
        "It needed more memory than it may have, and the kernel killed it (OOM). Reduce the context size, the slots or the "
        "prompt cache, choose a smaller model, or give the host more memory.",
    ),
    (
        r"code=(?:killed|dumped), status=4/ILL",
        "The CPU does not support an instruction that the engine was compiled for (SIGILL). Give the virtual machine the CPU "
        "model host-passthrough, or compile the engine for this host.",
    ),
    (
        r"code=(?:killed|dumped), status=31/SYS",
        "The unit's SystemCallFilter stopped it (SIGSYS). Compare the unit with the one the role installs.",
    ),
    (
        r"code=(?:killed|dumped), status=9/KILL",
        "It was killed from outside (SIGKILL), most often for lack of memory. See: journalctl -k.",
    ),
    (
        r"(?P<where>\S+:\d+: GGML_ASSERT\(.+\) failed)",
        "The engine stopped at an internal assertion: {where}. Report it to llama.cpp.",
    ),
    (r"code=(?:killed|dumped), status=(?P<signal>\d+/(?:SEGV|ABRT|BUS|FPE))", "The engine crashed ({signal})."),
    (
        r"not ready: /health answered 503",
        "The model was still loading at the start timeout. Give it more time, or use a faster disk.",
    ),
    (
        r"(?:start|start-post) operation timed out",
        "It was not ready before the start timeout; most often the model was still loading. Give it more time, or "
        "use a faster disk.",
    ),
    (
        r"Failed at step (?P<step>\w+) spawning (?P<program>\S+): (?P<reason>.+)",
        "systemd could not run {program}: {reason} (step {step}). Check that the engine is installed and its folders exist.",
    ),
    (
        r"status=(?P<status>21[67])/(?P<what>USER|GROUP)",
        "The service's user or group does not exist ({status}/{what}). Run the role again to create it.",
    ),
    # An unreadable file alone is a weak indication, so this comes last.
    (r"(?P<what>.+): Permission denied", "The service's user has no permission: {what}."),
]


def _message(line: str) -> str:
    return _PREFIX.sub("", line, count=1).strip()


def _attempts(lines: list[str]) -> list[list[str]]:
    """The lines of each start, the latest first."""
    attempts: list[list[str]] = [[]]
    for line in lines:
        if _ATTEMPT.match(_message(line)):
            attempts.append([])
        attempts[-1].append(line)
    return attempts[::-1]


def _cause(lines: list[str]) -> str | None:
    text = "\n".join(_message(line) for line in lines)
    for pattern, explanation in _CAUSES:
        found = re.search(pattern, text)
        if found:
            if callable(explanation):
                return explanation(found)
            return explanation.format(**{name: (value or "").strip() for name, value in found.groupdict().items()})
    return None


def startup_failure(journal: str) -> str:
    """Returns why llama-server did not start and what to do, otherwise its last meaningful lines.

    ``journal`` is what ``journalctl --unit`` shows, of several starts if need be.
    """
    lines = [line for line in journal.splitlines() if line.strip()]
    # systemd's lines and the program's can change places, so the last start's cause may stand before it.
    for attempt in _attempts(lines):
        cause = _cause(attempt)
        if cause:
            return cause
    telling = [message for message in map(_message, lines) if not _NOISE.search(message)]
    if not telling:
        return "The journal says nothing about the cause."
    return "The cause is unknown; the journal ends with: " + " | ".join(telling[-LAST_LINES:])


def gateway_failure(journal: str, listening: str) -> str:
    """Returns why HAProxy did not start or reload: its alerts, and the program that uses one of its ports.

    :param journal: what ``journalctl --unit --output=cat`` shows.
    :param listening: what ``ss -ltnp`` shows.
    """
    lines = [line for line in journal.splitlines() if line.strip()]
    alerts = list(dict.fromkeys(_ALERT.sub("", line) for line in lines if _ALERT.match(line)))[-ALERTS:]
    owners = [_owner(port, listening) for port in dict.fromkeys(_TAKEN.findall("\n".join(alerts)))]
    return " ".join(alerts + owners) or " | ".join(lines[-LAST_LINES:]) or "The journal says nothing about the cause."


def _owner(port: str, listening: str) -> str:
    taken = [line for line in listening.splitlines() if re.search(rf"[:.]{port}\s", line)]
    owner = re.search(r'users:\(\("([^"]+)",pid=(\d+)', taken[0]) if taken else None
    by = f"{owner[1]}, process {owner[2]}" if owner else "another program"
    return f"Port {port} is taken by {by}. Stop that, or choose another port."
