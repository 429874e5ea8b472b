# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A model hub for tests and demos: serves a directory tree the way the public hub does.

The tree is ``<root>/<owner>/<name>/<file>``. Clients are pointed at it by HF_ENDPOINT. As on the real hub, large
files live on another origin (a second port here): the hub's answer carries the checksum and redirects there.

    python3 tools/model_hub.py --root ./models --port 8600

One more address serves the same files as a plain web server does: ``/files/<owner>/<name>/<file>``.

``POST /_control`` with JSON changes the faults below while it runs, ``GET /_control`` returns them with what was
served so far. Only for tests: whoever reaches the port can do that.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import ssl
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

BLOCK = 64 * 1024
RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
MODEL_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
LARGE_SUFFIXES = (".gguf", ".bin", ".safetensors")  # What a repository keeps in LFS.


@dataclass
class Faults:
    """What goes wrong on purpose."""

    cut_after: int = 0  # Cut the next transfer after this many bytes, once.
    bytes_per_second: int = 0  # 0: as fast as it goes.
    gated: list[str] = field(default_factory=list)  # Repositories that need the token.
    token: str = "hf_local_test_token"
    wrong_hash: bool = False  # Announce another checksum than that of the bytes.
    refusals: list[int] = field(default_factory=list)  # Answer the next requests for files with these statuses.
    retry_after: str = ""  # What such an answer says in Retry-After.
    no_total: bool = False  # Answer a range without the size of the whole, as some proxies do.
    commit: str = ""  # Answer with this commit instead of the tree's own.


@dataclass
class Served:
    """What was served so far."""

    bytes: int = 0
    requests: list[str] = field(default_factory=list)
    authorized_cdn_requests: int = 0  # A token that left the hub's origin: must stay 0.
    user_agents: list[str] = field(default_factory=list)


@lru_cache(maxsize=64)
def digest_of(path: str, size: int, mtime_ns: int, kind: str) -> str:
    digest = hashlib.new(kind)
    if kind == "sha1":  # As git names a small file.
        digest.update(f"blob {size}\0".encode())
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest(path: Path, kind: str = "sha256") -> str:
    stat = path.stat()
    return digest_of(str(path), stat.st_size, stat.st_mtime_ns, kind)


class Hub:
    """The tree, its faults, and the two servers (hub and CDN)."""

    def __init__(
        self, root: Path, host: str = "127.0.0.1", port: int = 0, cdn_port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.root = root.resolve()
        self.faults = Faults()
        self.served = Served()
        self.lock = threading.Lock()
        self.scheme = "https" if tls else "http"
        self.servers = [Server((host, one), Handler, self, tls) for one in (port, cdn_port)]
        self.port, self.cdn_port = (server.server_address[1] for server in self.servers)
        self.endpoint = f"{self.scheme}://{host}:{self.port}"

    def __enter__(self) -> Hub:
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def repo(self, name: str) -> Path | None:
        """Returns the directory of a repository."""
        path = (self.root / name).resolve()
        return path if path.is_dir() and path.parent.parent == self.root else None

    def files(self, repo: Path) -> list[Path]:
        return sorted(path for path in repo.rglob("*") if path.is_file())

    def file(self, repo: Path, name: str) -> Path | None:
        path = (repo / name).resolve()
        return path if path.is_file() and repo in path.parents else None

    def commit(self, repo: Path) -> str:
        """Returns the id of the only commit: it changes with the content."""
        if self.faults.commit:
            return self.faults.commit
        listing = "\n".join(f"{path.relative_to(repo)} {digest(path)}" for path in self.files(repo))
        return hashlib.sha1(listing.encode()).hexdigest()

    def announced_sha256(self, path: Path) -> str:
        return hashlib.sha256(b"wrong").hexdigest() if self.faults.wrong_hash else digest(path)

    def take_cut(self) -> int:
        """Returns after how many bytes this transfer is to be cut, 0 for never."""
        with self.lock:
            cut, self.faults.cut_after = self.faults.cut_after, 0
            return cut


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[Handler], hub: Hub, tls: ssl.SSLContext | None) -> None:
        super().__init__(address, handler)
        self.hub = hub
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what this server is for."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: what was asked is in /_control."""

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/_control":
            return self.refuse(HTTPStatus.NOT_FOUND)
        try:
            changes = json.loads(body)
            unknown = set(changes) - set(asdict(self.hub.faults))
            if unknown:
                raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        except (ValueError, TypeError) as error:
            return self.refuse(HTTPStatus.BAD_REQUEST, "", str(error))
        with self.hub.lock:
            for name, value in changes.items():
                setattr(self.hub.faults, name, value)
            self.hub.served = Served()
        return self.send_json({"faults": asdict(self.hub.faults)})

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/_control":
            with self.hub.lock:
                return self.send_json({"faults": asdict(self.hub.faults), "served": asdict(self.hub.served)})
        with self.hub.lock:
            self.hub.served.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
            self.hub.served.user_agents.append(self.headers.get("User-Agent", ""))
        with self.hub.lock:
            refusal = self.hub.faults.refusals.pop(0) if self.hub.faults.refusals else 0
        if refusal:
            wait = {"Retry-After": self.hub.faults.retry_after} if self.hub.faults.retry_after else {}
            return self.refuse(HTTPStatus(refusal), "", "", wait)
        if path.startswith("/cdn/"):
            return self.answer_cdn(path)
        if path.startswith("/files/"):
            return self.answer_plain(path)
        if match := RESOLVE.fullmatch(path):
            return self.answer_resolve(match["repo"], match["revision"], match["file"])
        if match := MODEL_API.fullmatch(path):
            return self.answer_model(match["repo"], match["revision"] or "main")
        return self.refuse(HTTPStatus.NOT_FOUND)

    # The hub

    def allowed_repo(self, name: str, revision: str) -> Path | None:
        """Returns a repository that the client may read; else answers as the hub does, and returns None."""
        authorization = self.headers.get("Authorization")
        token_is_good = authorization == f"Bearer {self.hub.faults.token}"
        repo = self.hub.repo(name)
        if authorization and not token_is_good:
            self.refuse(HTTPStatus.UNAUTHORIZED, "", "Invalid credentials in Authorization header")
        elif repo is None:
            # The hub does not tell a stranger whether a private repository exists.
            status = HTTPStatus.NOT_FOUND if token_is_good else HTTPStatus.UNAUTHORIZED
            self.refuse(status, "RepoNotFound", "Repository not found")
        elif name in self.hub.faults.gated and not token_is_good:
            message = f"Access to model {name} is restricted. You must have access to it and be authenticated."
            self.refuse(HTTPStatus.UNAUTHORIZED, "GatedRepo", message)
        elif revision not in ("main", self.hub.commit(repo)):
            self.refuse(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return repo
        return None

    def answer_resolve(self, name: str, revision: str, file: str) -> None:
        repo = self.allowed_repo(name, revision)
        if repo is None:
            return None
        headers = {"X-Repo-Commit": self.hub.commit(repo), "Accept-Ranges": "bytes"}
        path = self.hub.file(repo, file)
        if path is None:
            return self.refuse(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found", headers)
        if path.suffix not in LARGE_SUFFIXES:
            return self.send_file(path, {**headers, "ETag": f'"{digest(path, "sha1")}"'})
        host = re.sub(r":\d+$", "", self.headers.get("Host") or "localhost")  # an IPv6 address keeps its brackets
        headers["X-Linked-ETag"] = f'"{self.hub.announced_sha256(path)}"'
        headers["X-Linked-Size"] = str(path.stat().st_size)
        # Another way to fetch it, at hosts that no proxy may let through; here nobody answers there.
        headers["X-Xet-Hash"] = digest(path)
        headers["Link"] = f'<{self.hub.scheme}://{host}:9/xet-read-token>; rel="xet-auth"'
        cdn = f"{self.hub.scheme}://{host}:{self.hub.cdn_port}"
        headers["Location"] = f"{cdn}/cdn/{quote(f'{name}/{file}')}?signature=valid"
        return self.send_body(HTTPStatus.FOUND, b"", headers)

    def answer_model(self, name: str, revision: str) -> None:
        repo = self.allowed_repo(name, revision)
        if repo is None:
            return None
        siblings = []
        for path in self.hub.files(repo):
            entry: dict[str, Any] = {"rfilename": str(path.relative_to(repo)), "size": path.stat().st_size}
            if path.suffix in LARGE_SUFFIXES:
                entry["lfs"] = {"sha256": self.hub.announced_sha256(path), "size": entry["size"], "pointerSize": 135}
            siblings.append(entry)
        gated = "manual" if name in self.hub.faults.gated else False
        commit = self.hub.commit(repo)
        model = {"id": name, "modelId": name, "sha": commit, "gated": gated, "private": False, "siblings": siblings}
        return self.send_json(model, {"X-Repo-Commit": commit})

    # Other origins

    def answer_cdn(self, path: str) -> None:
        if "Authorization" in self.headers:
            with self.hub.lock:
                self.hub.served.authorized_cdn_requests += 1
        if urlsplit(self.path).query != "signature=valid":
            return self.refuse(HTTPStatus.FORBIDDEN, "", "the address is not signed")
        return self.answer_plain(path)

    def answer_plain(self, path: str) -> None:
        """Serves ``/<word>/<owner>/<name>/<file>``."""
        owner, name, file = [*path.split("/", 4)[2:], "", "", ""][:3]
        repo = self.hub.repo(f"{owner}/{name}") if owner and name else None
        found = self.hub.file(repo, file) if repo else None
        if found is None:
            return self.refuse(HTTPStatus.NOT_FOUND)
        modified = formatdate(found.stat().st_mtime, usegmt=True)
        return self.send_file(found, {"ETag": f'"{digest(found)}"', "Last-Modified": modified})

    # Answers

    def send_file(self, path: Path, headers: dict[str, str]) -> None:
        size = path.stat().st_size
        start, end = 0, size - 1
        asked = RANGE.fullmatch(self.headers.get("Range") or "")
        if asked and self.headers.get("If-Range") in (None, headers["ETag"], headers.get("Last-Modified")):
            start, end = int(asked[1]), min(int(asked[2] or end), end)
            if start >= size:
                headers = {**headers, "Content-Range": f"bytes */{size}"}
                return self.send_body(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", headers)
            headers = {**headers, "Content-Range": f"bytes {start}-{end}/{'*' if self.hub.faults.no_total else size}"}
        self.send_response(HTTPStatus.PARTIAL_CONTENT if "Content-Range" in headers else HTTPStatus.OK)
        for name, value in {**headers, "Content-Length": str(end - start + 1)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        # A look at the first byte is no transfer that could be cut.
        cut = self.hub.take_cut() if end > start else 0
        with path.open("rb") as file, contextlib.suppress(ConnectionError, ssl.SSLError):
            file.seek(start)
            self.send_bytes(file, end - start + 1, cut)
        return None

    def send_bytes(self, file: Any, left: int, cut: int) -> None:
        sent = 0
        while left:
            speed = self.hub.faults.bytes_per_second
            block = file.read(min(left, BLOCK, *([speed // 10 or 1] if speed else []), *([cut - sent] if cut else [])))
            if not block:
                break
            self.wfile.write(block)
            left -= len(block)
            sent += len(block)
            with self.hub.lock:
                self.hub.served.bytes += len(block)
            if cut and sent >= cut:
                break
            if speed:
                time.sleep(len(block) / speed)
        if left:
            self.close_connection = True

    def send_json(self, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_body(HTTPStatus.OK, body, {"Content-Type": "application/json", **(headers or {})})

    def refuse(self, status: HTTPStatus, code: str = "", message: str = "", headers: dict[str, str] | None = None) -> None:
        explained = {**({"X-Error-Code": code} if code else {}), **({"X-Error-Message": message} if message else {})}
        self.send_body(status, (message or status.phrase).encode(), {**explained, **(headers or {})})

    def send_body(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serves a directory tree as the public model hub does. For tests.")
    parser.add_argument("--root", type=Path, required=True, help="directory with <owner>/<name>/<file>")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8600, help="port of the hub, 0 for any (default: %(default)s)")
    parser.add_argument("--cdn-port", type=int, default=0, help="port that large files come from (default: any)")
    parser.add_argument("--tls-cert", type=Path, help="certificate chain, PEM; serves https then")
    parser.add_argument("--tls-key", type=Path, help="its key, PEM")
    parser.add_argument("--cut-after", type=int, default=0, metavar="BYTES", help="cut the first transfer, once")
    parser.add_argument("--bytes-per-second", type=int, default=0, help="serve slowly")
    parser.add_argument("--gated", action="append", default=[], metavar="OWNER/NAME", help="needs the token; repeatable")
    parser.add_argument("--token", default=Faults.token, help="the token that opens gated models (default: %(default)s)")
    parser.add_argument("--wrong-hash", action="store_true", help="announce wrong checksums")
    chosen = parser.parse_args(argv)
    if bool(chosen.tls_cert) != bool(chosen.tls_key):
        parser.error("--tls-cert and --tls-key belong together")
    if not chosen.root.is_dir():
        parser.error(f"{chosen.root} is not a directory")
    return chosen


def main(argv: list[str] | None = None) -> None:
    chosen = arguments(argv)
    tls = None
    if chosen.tls_cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(chosen.tls_cert, chosen.tls_key)
    with Hub(chosen.root, chosen.host, chosen.port, chosen.cdn_port, tls) as hub:
        for name in ("cut_after", "bytes_per_second", "gated", "token", "wrong_hash"):
            setattr(hub.faults, name, getattr(chosen, name))
        print(f"{hub.endpoint} (CDN on port {hub.cdn_port}) serves {hub.root}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
