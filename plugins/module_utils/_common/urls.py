# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses, in which people put secrets: a user with a password, or a signed query. No text of this file holds a part of one."""

from __future__ import annotations

import base64
import re
import urllib.parse

UNREADABLE = "(an address that cannot be read)"
_PRINTABLE = re.compile(r"[^\s\x00-\x1f\x7f]*")
_SAFE = "%/:=&?~+!$,;'@()*[]-._"  # what a path or a query may have as it is


def server_url(host: str, port: int | str, scheme: str = "https") -> str:
    """Returns the URL of a server, without a slash at the end. An IPv6 address gets its brackets."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def url_fault(url: str) -> str | None:
    """Returns why a text is not the URL of a file on a web server, in words that do not show it."""
    if not re.match(r"https?://", url):
        return "it does not begin with https:// or http://"
    if not _PRINTABLE.fullmatch(url):
        return "it has a space or a control character: write %20 for a space"
    try:
        parts = urllib.parse.urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "its host or port cannot be read: in a password write %2F for /, %40 for @ and %3A for :"
    if not host:
        return "it has no host"
    return None if host.isascii() else "its host has a character outside ASCII: write the name that begins with xn--"


def shown_url(url: str) -> str:
    """Returns a URL without the parts in which people put secrets."""
    try:
        parts = urllib.parse.urlsplit(url)
        _port = parts.port
    except ValueError:
        return UNREADABLE
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def request_parts(url: str) -> tuple[str, str | None]:
    """Returns the URL to send a request to, in ASCII, and the value of the header Authorization for its user and password."""
    parts = urllib.parse.urlsplit(url)
    userinfo, _at, place = parts.netloc.rpartition("@")
    path, query = (urllib.parse.quote(part, safe=_SAFE) for part in (parts.path, parts.query))
    plain = urllib.parse.urlunsplit((parts.scheme, place, path, query, ""))
    if not userinfo:
        return plain, None
    user, _colon, password = (urllib.parse.unquote(part) for part in userinfo.partition(":"))
    return plain, "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
