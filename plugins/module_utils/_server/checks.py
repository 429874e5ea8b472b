# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of an OpenAI-compatible endpoint.

Each check opens a separate connection, so that a broken connection does not affect the next check.
The API key is only sent in the Authorization header; no detail or error message contains it.
"""

from __future__ import annotations

import errno
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.slm.copilot.plugins.module_utils._access.keys import key_fault
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.http import tls_context

TITLES = {
    "https": "HTTPS connectivity",
    "health": "Health",
    "no_key": "Rejection without key",
    "with_key": "Acceptance with key",
    "models": "Model list",
    "chat": "Chat completion",
    "stream": "Streaming",
    "tools": "Tool calls",
}
MAX_BODY = 8 * 1024 * 1024  # bytes; no answer to these requests is larger than a few KiB
PROMPT = "Say hello."
WORD = "hello"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "say",
        "description": "Says a word.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string", "enum": [WORD]}}, "required": ["word"]},
    },
}
TOOL_TOKENS = 256  # a call has some thirty; models that think have more to say before it

# OpenSSL's numbers for why a certificate was refused (X509_V_ERR_*).
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_CA = {2, 18, 19, 20, 21}
_WRONG_NAME = {62, 64}


@dataclass(frozen=True)
class Target:
    """What to check, and how."""

    url: str
    api_key: str
    model: str | None = None
    ca_path: str | None = None
    connect_host: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = 10
    chat_timeout: float = 600
    max_tokens: int = 8


@dataclass
class Check:
    """The result of one check. One that does not apply is skipped, and ok."""

    id: str
    title: str
    ok: bool
    skipped: bool
    detail: str
    seconds: float


@dataclass
class Report:
    """The results of all checks of one endpoint."""

    url: str
    model: str | None
    checks: list[Check] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    tls: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        failed = [check for check in self.checks if not check.ok and not check.skipped]
        return {**asdict(self), "passed": all(check.ok for check in self.checks), "failed_count": len(failed)}


@dataclass(frozen=True)
class Address:
    """The parts of an endpoint's URL."""

    scheme: str
    host: str
    port: int
    prefix: str  # path before /v1 and /health, empty or starting with a slash

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


class _Failure(Exception):
    """Why a check failed, in words for people. Never leaves this file."""


class _NotApplicable(Exception):
    """Why a check says nothing about this endpoint, in words for people. Never leaves this file."""


class _NoAnswer(_Failure):
    """The timeout expired."""


def parse_url(url: str) -> Address:
    """Take an endpoint's URL apart, with or without /v1 at its end."""
    form = "url: must have the form https://host:port, with or without /v1 at the end"
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:  # its text would repeat the URL
        raise CopilotError(f"{form}; its host or port cannot be read") from None
    if "@" in parts.netloc:
        raise CopilotError(f"{form}; it has a user or a password in it: give a key as api_key or api_key_file")
    if parts.query or parts.fragment:
        raise CopilotError(f"{form}; it has a query ('?') or a fragment ('#'): take that away")
    if parts.scheme not in ("https", "http") or not host:
        raise CopilotError(f"{form}; it has {len(url)} characters and another scheme, or no host")
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", host) or not re.fullmatch(r"[!-~]*", parts.path):
        raise CopilotError(f"{form}; its host or path has a character that does not belong there")
    prefix = re.sub(r"/v1$", "", parts.path.rstrip("/")).rstrip("/")
    return Address(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), prefix)


def _tls_context(target: Target) -> ssl.SSLContext:
    """A context that verifies, and has the client's certificate where there is one."""
    context = tls_context(target.ca_path)
    if target.client_cert:
        try:
            # The empty password makes an encrypted key an error instead of a question on the terminal.
            context.load_cert_chain(target.client_cert, target.client_key, password="")
        except OSError as error:
            reason = str(error.strerror) if error.filename or not isinstance(error, ssl.SSLError) else ""
            if "KEY_VALUES_MISMATCH" in str(error):
                reason = "the key does not belong to the certificate"
            raise CopilotError(
                "client_cert, client_key: cannot be used: " + (reason or "not a certificate and its unencrypted key in PEM form")
            ) from None
        except ValueError:
            raise CopilotError("client_key: is encrypted; give an unencrypted one") from None
    return context


class _Connection(http.client.HTTPConnection):
    """One HTTPS connection that can go to another address than the one whose name it verifies."""

    default_port = 443

    def __init__(self, address: Address, target: Target, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(address.host, address.port, timeout=timeout)
        self._address = (target.connect_host or address.host, address.port)
        self._context = context
        self.tls: ssl.SSLSocket | None = None

    def connect(self) -> None:
        plain = socket.create_connection(self._address, self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock = self.tls = self._context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def _explain(error: Exception, target: Target, address: Address, seconds: float) -> _Failure:
    """Explain a failed connection and what to do."""
    place = f"{target.connect_host or address.host}:{address.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _UNKNOWN_CA:
            if target.ca_path:
                return _Failure(f"certificate not signed by a CA in {target.ca_path}; give the CA that signed it in ca_path")
            return _Failure("certificate not signed by a CA this machine knows; give the CA's file in ca_path")
        if code in _WRONG_NAME:
            return _Failure(f"certificate is not for '{address.host}'; use a name or address it has, or issue one with this name")
        if code == _EXPIRED:
            return _Failure("certificate, or the CA's, has expired; renew it, and check this machine's clock")
        if code == _NOT_YET_VALID:
            return _Failure("certificate, or the CA's, is not valid yet; check the clocks of both machines")
        return _Failure(f"certificate refused: {error.verify_message}")
    if isinstance(error, (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, http.client.IncompleteRead)):
        return _Failure(f"{place} closed the connection in the middle; see the server's journal")
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if "CERTIFICATE_REQUIRED" in reason:
            return _Failure("server asks for a client certificate; give client_cert and client_key")
        if "HANDSHAKE_FAILURE" in reason:
            return _Failure("server broke off the TLS handshake; it may ask for a client certificate: give client_cert")
        if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason or "ALERT_CERTIFICATE" in reason:
            return _Failure("server refused the client certificate: another CA, expired or revoked")
        if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason:
            return _Failure(f"{place} answers, but not with TLS; is it plain HTTP, or another service's port?")
        return _Failure(f"TLS failed: {reason.lower().replace('_', ' ') or 'connection broken'}")
    if isinstance(error, (socket.timeout, TimeoutError)):
        return _NoAnswer(f"no answer from {place} within {seconds:g} s; is a firewall or a busy server in between?")
    if isinstance(error, (socket.gaierror, UnicodeError)):  # UnicodeError: no name in DNS can look like this
        return _Failure(f"the name '{target.connect_host or address.host}' has no address; check the URL and DNS")
    if isinstance(error, ConnectionRefusedError):
        return _Failure(f"{place} refuses connections; is the service running, and on this port?")
    if isinstance(error, OSError):
        if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return _Failure(f"no route to {place}; check the address and the network")
        return _Failure(f"cannot reach {place}: {error.strerror or type(error).__name__}")
    return _Failure(f"{place} answers, but not with HTTP/1.1 ({type(error).__name__})")


def _alert(connection: _Connection) -> ssl.SSLError | None:
    """The TLS alert of a server that closed the connection while it was written to, when there is one."""
    try:
        if connection.tls is not None:
            connection.tls.settimeout(1)
            connection.tls.recv(1)
    except ssl.SSLError as error:
        return error if "ALERT" in (error.reason or "") else None
    except (OSError, ValueError):
        pass
    return None


def _seconds(start: float) -> float:
    return round(time.monotonic() - start, 3)


class _Answer:
    """A response whose body is read piece by piece, never beyond the deadline."""

    def __init__(
        self, client: _Client, connection: _Connection, response: http.client.HTTPResponse, start: float, limit: float
    ) -> None:
        self._client = client
        self._connection = connection
        self._response = response
        self._limit = limit
        self._deadline = start + limit
        self.status = response.status
        self.content_type = response.headers.get_content_type()
        self.arrived = start  # when the newest piece came

    def pieces(self) -> Iterator[bytes]:
        size = 0
        while not self._response.isclosed():
            rest = self._deadline - time.monotonic()
            if rest <= 0:
                raise _NoAnswer(f"the answer was not complete within {self._limit:g} s")
            if self._connection.tls is not None:
                self._connection.tls.settimeout(rest)
            try:
                piece = self._response.read1(65536)
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, (socket.timeout, TimeoutError)):
                    raise _NoAnswer(f"the answer was not complete within {self._limit:g} s") from None
                raise self._client.explain(error, self._limit) from None
            if not piece:
                if self._response.length:  # bytes that were announced and did not come
                    raise self._client.explain(ConnectionResetError(), self._limit)
                return
            self.arrived = time.monotonic()
            size += len(piece)
            if size > MAX_BODY:
                raise _Failure(f"the answer is larger than {MAX_BODY // 1024 // 1024} MiB")
            yield piece

    def json(self) -> Any:
        body = b"".join(self.pieces())
        try:
            return json.loads(body)
        except ValueError:
            raise _Failure(f"answered {self.status} with {self.content_type} that is not JSON") from None

    def lines(self) -> Iterator[str]:
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.rstrip(b"\r").decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")


class _Client:
    """Requests to one endpoint."""

    def __init__(self, target: Target, address: Address) -> None:
        self.target = target
        self.address = address
        self._context = _tls_context(target)
        self._connection: _Connection | None = None

    def explain(self, error: Exception, limit: float) -> _Failure:
        return _explain(error, self.target, self.address, limit)

    def close(self) -> None:
        if self._connection:
            self._connection.close()

    def connect(self) -> _Connection:
        self.close()
        self._connection = _Connection(self.address, self.target, self._context, self.target.timeout)
        try:
            self._connection.connect()
        except (OSError, UnicodeError) as error:
            raise self.explain(error, self.target.timeout) from None
        return self._connection

    def request(self, method: str, path: str, body: Any = None, key: bool = True, limit: float | None = None) -> _Answer:
        return self.send(self.connect(), method, path, body, key=key, limit=limit or self.target.timeout)

    def send(self, connection: _Connection, method: str, path: str, body: Any = None, *, key: bool, limit: float) -> _Answer:
        headers = {"Accept": "application/json, text/event-stream", "User-Agent": "slm.copilot endpoint_check"}
        if key:
            headers["Authorization"] = f"Bearer {self.target.api_key}"
        payload = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            payload = json.dumps(body).encode()
        start = time.monotonic()
        try:
            if connection.tls is not None:
                connection.tls.settimeout(limit)
            connection.request(method, self.address.prefix + path, body=payload, headers=headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self.explain(_alert(connection) or error, limit) from None
        return _Answer(self, connection, response, start, limit)

    def refusal(self, answer: _Answer) -> _Failure:
        """Why an answer to a request with a key was not 200."""
        if answer.status in (401, 403):
            # The body is not quoted: some servers repeat parts of the key in it.
            return _Failure(
                f"key refused ({answer.status}); is it this server's key, and did the server start after the key was written?"
            )
        if answer.status == 503:
            return _Failure("answered 503: the model is still loading, or no backend is free; try again later")
        if 300 <= answer.status < 400:
            return _Failure(f"answered {answer.status}, a redirect; give the URL it leads to")
        return _Failure(f"answered {answer.status}{self._quote(answer)}")

    def _quote(self, answer: _Answer) -> str:
        """The message of an error in OpenAI's form, without the key."""
        return self.quoted(_error(answer).get("message"))

    def quoted(self, message: Any) -> str:
        """A text that the server sent, after a colon, without the key."""
        text = " ".join(str(message or "").replace(self.target.api_key, "***").split())
        return text and f": {text[:200]}"


def _error(answer: _Answer) -> dict[str, Any]:
    """What an answer has under 'error'; nothing when it has none in OpenAI's form."""
    try:
        error = answer.json()["error"]
    except (_Failure, LookupError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _check_https(client: _Client, report: Report) -> str:
    if client.address.scheme != "https":
        raise _Failure("the URL is http://; a key must not travel in the clear: use https://")
    start = time.monotonic()
    connection = client.connect()
    if connection.tls is None:
        raise _Failure("the connection has no TLS")
    report.timings["connect"] = _seconds(start)
    # A verified certificate always comes as a mapping.
    certificate: Mapping[str, Any] = connection.tls.getpeercert() or {}
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    cipher = connection.tls.cipher()
    report.tls = {
        "protocol": connection.tls.version(),
        "cipher": cipher[0] if cipher else None,
        "not_after": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ssl.cert_time_to_seconds(certificate["notAfter"]))),
        "names": names,
    }
    # With TLS 1.3 a server refuses a client's certificate only after the handshake: wait for an answer.
    client.send(connection, "GET", "/health", key=False, limit=client.target.timeout)
    return "{protocol}, {cipher}, certificate until {end} for {names}".format(
        protocol=report.tls["protocol"],
        cipher=report.tls["cipher"],
        end=report.tls["not_after"][:10],
        names=", ".join(names),
    )


def _check_health(client: _Client, report: Report) -> str:
    seen = []
    # llama-server has the first, LiteLLM (whose /health asks for a key) the others.
    for path in ("/health", "/health/liveliness", "/health/readiness"):
        status = client.request("GET", path, key=False).status
        if status == 200:
            return f"{path} answered 200"
        seen.append(f"{path} answered {status}")
        if status == 503:
            raise _Failure(f"{seen[-1]}: the model is still loading; try again later")
    raise _Failure(", ".join(seen) + "; is this llama-server or LiteLLM?")


def _check_no_key(client: _Client, report: Report) -> str:
    # The empty request is refused (400) by a server that asks for no key, before it computes anything.
    for method, path, body in (("GET", "/v1/models", None), ("POST", "/v1/chat/completions", {})):
        status = client.request(method, path, body, key=False).status
        if status != 401:
            if status == 503:
                raise _Failure(f"{method} {path} without key answered 503: still loading; try again later")
            raise _Failure(
                f"{method} {path} without key answered {status} instead of 401; "
                "does the server have a file of keys, with a key in it?"
            )
    return "GET /v1/models and POST /v1/chat/completions answered 401"


def _check_with_key(client: _Client, report: Report) -> str:
    answer = client.request("GET", "/v1/models")
    if answer.status != 200:
        raise client.refusal(answer)
    listed = answer.json()
    entries = listed.get("data") if isinstance(listed, dict) else None
    report.models = [
        entry["id"]
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    ]
    return "GET /v1/models answered 200"


def _check_models(client: _Client, report: Report) -> str:
    if not report.models:
        raise _Failure("the list of models is empty; see the server's journal")
    if report.model is None:
        report.model = report.models[0]
    elif report.model not in report.models:
        raise _Failure(f"'{report.model}' is not served, only {', '.join(report.models)}")
    return ", ".join(report.models)


def _completion_request(client: _Client, report: Report, stream: bool) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": report.model,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": client.target.max_tokens,
        "stream": stream,
    }
    if stream:
        request["stream_options"] = {"include_usage": True}
    return request


def _completion_tokens(answer: Mapping[str, Any]) -> int | None:
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else None


def _check_chat(client: _Client, report: Report) -> str:
    start = time.monotonic()
    answer = client.request(
        "POST", "/v1/chat/completions", _completion_request(client, report, False), limit=client.target.chat_timeout
    )
    if answer.status != 200:
        raise client.refusal(answer)
    completion = answer.json()
    choices = completion.get("choices") if isinstance(completion, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict) or "message" not in choices[0]:
        raise _Failure("answered 200 without a message in 'choices'")
    tokens = _completion_tokens(completion)
    if tokens is None:
        raise _Failure("answered 200 without 'usage.completion_tokens'")
    report.timings["chat"] = _seconds(start)
    return f"{tokens} tokens in {report.timings['chat']:.1f} s"


def _stream_chunks(answer: _Answer) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream of server-sent events that ends as OpenAI's does."""
    for line in answer.lines():
        name, _colon, value = line.partition(":")
        if name in ("", "event", "id", "retry"):  # blank lines, comments and fields that do not matter here
            continue
        if name != "data":
            raise _Failure("the stream has a line that is no server-sent event")
        value = value.strip()
        if value == "[DONE]":
            return
        try:
            chunk = json.loads(value)
        except ValueError:
            raise _Failure("the stream has a chunk that is not JSON") from None
        if not isinstance(chunk, dict):
            raise _Failure("the stream has a chunk that is not a JSON object")
        if chunk.get("error") is not None:
            raise _Failure("the stream ended with an error; see the server's journal")
        yield chunk
    raise _Failure("the stream ended without [DONE]; did a proxy or a time-out cut it?")


def _check_stream(client: _Client, report: Report) -> str:
    start = time.monotonic()
    answer = client.request(
        "POST", "/v1/chat/completions", _completion_request(client, report, True), limit=client.target.chat_timeout
    )
    if answer.status != 200:
        raise client.refusal(answer)
    if answer.content_type != "text/event-stream":
        raise _Failure(f"answered {answer.content_type} instead of text/event-stream")
    with_choices = pieces = pieces_at_first = 0
    tokens: int | None = None
    first = last = None
    for chunk in _stream_chunks(answer):
        tokens = _completion_tokens(chunk) or tokens
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            continue  # the chunk with the usage has none
        with_choices += 1
        delta = choices[0].get("delta") if isinstance(choices[0], dict) else None
        # The first chunk only has the role; text, thoughts and tool calls are tokens.
        if isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role"):
            pieces += 1
            last = answer.arrived
            first = first or last
            pieces_at_first += last == first
    if not with_choices:
        raise _Failure("the stream has no chunk with 'choices'")
    tokens = tokens or pieces
    report.timings["tokens"] = tokens
    if first is None or last is None:
        report.timings["stream"] = _seconds(start)
        return "well-formed, but the model said nothing"
    report.timings["first_token"] = round(first - start, 3)
    text = f"first token after {first - start:.2f} s, {tokens} tokens"
    # A chunk can hold several tokens. The time until the first chunk is the prompt's, so its tokens are not counted.
    if pieces > pieces_at_first:
        rate = tokens * (pieces - pieces_at_first) / pieces / (last - first)
        report.timings["tokens_per_second"] = round(rate, 2)
        text += f", {rate:.1f} tokens/s"
    report.timings["stream"] = _seconds(start)
    return text


def _check_tools(client: _Client, report: Report) -> str:
    """Requires a call of the only tool."""
    request = {
        **_completion_request(client, report, False),
        "tools": [TOOL],
        "tool_choice": "required",
        "max_tokens": TOOL_TOKENS,
    }
    answer = client.request("POST", "/v1/chat/completions", request, limit=client.target.chat_timeout)
    if answer.status == 400:
        error = _error(answer)
        if error.get("code") == "tools_not_supported":
            raise _NotApplicable("the model's chat template does not support tools")
        raise _Failure(f"answered 400{client.quoted(error.get('message'))}")
    if answer.status != 200:
        raise client.refusal(answer)
    completion = answer.json()
    try:
        choice = completion["choices"][0]
        calls = choice["message"].get("tool_calls") or []
        if not calls and choice.get("finish_reason") == "length":
            raise _NotApplicable(f"not decided: within {TOOL_TOKENS} tokens the model did not call the tool")
        function = calls[0]["function"]
        name, arguments = function["name"], json.loads(function["arguments"])
    except (LookupError, TypeError, AttributeError, ValueError):
        raise _Failure("answered 200 without the required tool call, or with one that is not in OpenAI's format") from None
    if (name, arguments) != (TOOL["function"]["name"], {"word": WORD}):
        raise _Failure("the call is for a different tool, or has the wrong arguments")
    return f"called {name}"


_CHECKS = {
    "https": _check_https,
    "health": _check_health,
    "no_key": _check_no_key,
    "with_key": _check_with_key,
    "models": _check_models,
    "chat": _check_chat,
    "stream": _check_stream,
    "tools": _check_tools,
}


def run_checks(target: Target, only: Collection[str] = tuple(TITLES)) -> Report:
    """Run the checks in their order; one whose outcome is clear after an earlier one is skipped.

    :param only: ids of the checks to run, in no order.
    """
    fault = key_fault(target.api_key)
    if fault:
        raise CopilotError(f"api_key: the key {fault}")
    address = parse_url(target.url)
    client = _Client(target, address)
    report = Report(url=address.url, model=target.model)
    skip_all = skip_after_key = skip_answers = ""
    for name, check in ((name, check) for name, check in _CHECKS.items() if name in only):
        reason = skip_all or (skip_after_key if name in ("models", "chat", "stream", "tools") else "")
        reason = reason or (skip_answers if name in ("stream", "tools") else "")
        if reason:
            report.checks.append(Check(name, TITLES[name], False, True, reason, 0.0))
            continue
        start = time.monotonic()
        try:
            detail, ok = check(client, report), True
        except _Failure as failure:
            detail, ok = str(failure), False
            if name == "https":
                skip_all = "no HTTPS connection"
            elif name == "with_key":
                skip_after_key = "the key was not accepted"
            elif name == "models":
                skip_after_key = "the model is not there"
            elif name == "chat" and isinstance(failure, _NoAnswer):
                skip_answers = "the chat completion had no answer in time"
        except _NotApplicable as reason_why:
            report.checks.append(Check(name, TITLES[name], True, True, str(reason_why), _seconds(start)))
            continue
        finally:
            client.close()
        report.checks.append(Check(name, TITLES[name], ok, False, detail, _seconds(start)))
    return report


# Reports ------------------------------------------------------------------------------------------------------------
