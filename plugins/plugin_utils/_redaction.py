# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redacts logs and configuration: removes keys, prompts, names of developers, and addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping

SECRET = "[secret]"
NOBODY = ("-", "shared", "balancer", "monitor@fleet")  # whom the gateway and routers call so
_PEM = re.compile(r"-----BEGIN [^-\n]+-----.*?(?:-----END [^-\n]+-----|\Z)", re.DOTALL)
_SECRETS = (
    re.compile(r"\bsk-[\w-]{8,}"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+\S+"),
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?:password|passphrase|api[-_]?key)[\"']?\s*[=:]\s*[\"']?[^\s\"',]+"),
)
_USER = re.compile(r"\b(user|client)=(\S+)")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}:[0-9a-fA-F:]*:[0-9a-fA-F:.]*)(?![\w.]*\w)")
_URL = re.compile(r"\bhttps?://[^\s\"'\\]+")

# A line of the journal, as `journalctl --output=short-iso --no-hostname` shows it.
_LINE = re.compile(r"\S+ (?P<who>[^\s\[:]+)(?:\[\d+\])?: (?P<words>.*)")
# llama-server's own lines begin with the time. Its errors quote the request, also over several lines, of which the others do not.
_ENGINE = re.compile(r"(?:\[\d+\] )?\d+(?:\.\d{2,3}){3} [A-Z] ")
_QUOTE = re.compile(r"\b(?:exception|error|request):|[\"'{`]")
_ROUTER = re.compile(r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL): |Traceback |  File \"/[^\"]+\", line \d+, in ")
_RAISED = re.compile(r"[\w.]*(?:Error|Exception|Timeout)\b")
_GATEWAY = re.compile(r"\S+ (?P<method>[A-Z-]+|<BADREQ>) (?P<path>\S+) (?P<rest>(?:\d{3}|-1) user=.*)")
_PATH = re.compile(
    r"/(?:v1|health|readyz|metrics|infill|running|tokenize|props|slots|router|api|upstream|prometheus|alertmanager)\b"
)
_HAPROXY = re.compile(r"\[(?:NOTICE|WARNING|ALERT)\]|\S+ \[[^\]]+\] \w+/\d+: SSL handshake failure$")


class Redaction:
    """The known secrets. The same name or address always has the same placeholder.

    :param secrets: keys and passwords.
    :param names: of developers.
    :param hosts: host -> by what it is known, such as its address.
    """

    def __init__(self, secrets: Iterable[str], names: Iterable[str], hosts: Mapping[str, Iterable[str]]) -> None:
        self._secrets = sorted({one for one in secrets if len(one) > 5}, key=len, reverse=True)
        self.hosts = {host: f"host-{number}" for number, host in enumerate(hosts, 1)}
        known = {value: self.hosts[host] for host, values in hosts.items() for value in (host, *values) if value}
        self._hosts, self._host = known, _any_of(known)
        self._users: dict[str, str] = {}
        self._name = _any_of(set(names) - {*NOBODY, "", *known})
        self._addresses: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Returns a redacted text."""
        for secret in self._secrets:
            text = text.replace(secret, SECRET)
        text = _PEM.sub("[PEM]", text)
        for pattern in _SECRETS:
            text = pattern.sub(SECRET, text)
        text = _USER.sub(lambda found: f"{found[1]}={self._user(found[2])}", text)
        text = _MAIL.sub("[mail]", text)
        if self._host is not None:
            text = self._host.sub(lambda found: self._hosts[found[0]], text)
        if self._name is not None:
            text = self._name.sub(lambda found: self._user(found[0]), text)
        return _ADDRESS.sub(self._address, text)

    def journal(self, unit: str, text: str) -> str:
        """Returns a redacted journal of a unit, without possible parts of prompts."""
        lines: list[str] = []
        out = 0
        for line in text.splitlines():
            kept = _kept(unit, line)
            out += kept is None
            if out and kept is not None:
                lines.append(f"[{out} left out]")
                out = 0
            if kept is not None:
                lines.append(kept)
        if out:
            lines.append(f"[{out} left out]")
        return self.text("".join(f"{line}\n" for line in lines))

    def _user(self, name: str) -> str:
        return name if name in NOBODY else self._users.setdefault(name, f"user-{len(self._users) + 1}")

    def _address(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:
            return found[0]
        if address.is_loopback or address.is_unspecified:
            return found[0]
        return self._addresses.setdefault(str(address), f"address-{len(self._addresses) + 1}")


def _any_of(words: Iterable[str]) -> re.Pattern[str] | None:
    """Returns a pattern that matches any of some words, the longest first; None without words."""
    longest = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest))})(?![\w-])") if longest else None


def _kept(unit: str, line: str) -> str | None:
    """Returns the part of a journal line to keep; None to drop it."""
    match = _LINE.fullmatch(line)
    if match is None:
        return line if line.startswith("-- ") else None
    words = match["words"]
    if match["who"] != "systemd":
        said = _OF.get(unit, _of_others)(words)
        return None if said is None else line[: match.start("words")] + said
    return line


def _of_engine(words: str) -> str | None:
    if not _ENGINE.match(words):
        return None
    quote = _QUOTE.search(words)
    return f"{words[: quote.start()]}[left out]" if quote else words


def _of_router(words: str) -> str | None:
    if raised := _RAISED.match(words):
        return raised[0]
    return words if _ROUTER.match(words) else None


def _of_gateway(words: str) -> str | None:
    request = _GATEWAY.fullmatch(words)
    if request is None:
        return words if _HAPROXY.match(words) else None
    path = _PATH.match(request["path"])
    shown = request["path"] if path and re.fullmatch(r"[a-z0-9/_]+", request["path"]) else f"{path[0] if path else ''}/[path]"
    start, end = request.span("path")
    return words[:start] + shown + words[end:]


def _of_others(words: str) -> str:
    return _URL.sub("[URL]", words)


_OF: dict[str, Callable[[str], str | None]] = {
    "slm-copilot.service": _of_engine,
    "slm-copilot-router.service": _of_router,
    "slm-copilot-proxy.service": _of_router,
    "slm-copilot-gateway.service": _of_gateway,
}
