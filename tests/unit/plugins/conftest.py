# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several tests share: published models, and a real HTTPS endpoint on this machine, whose answers a test can spoil."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import models
from ansible_collections.slm.copilot.tests.unit.fixtures.router import LlamaServer

KEY = "sk-the-key-of-the-endpoint"


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """What the headers of some published models say, by name."""
    folder = tmp_path_factory.mktemp("models")
    return {
        name: gguf.check(str(models.write(folder / f"{name}.gguf", metadata, tensors)))
        for name, metadata, tensors in (
            ("devstral", models.DEVSTRAL, models.DEVSTRAL_TENSORS),
            ("qwen", models.QWEN, models.QWEN_TENSORS),
            ("gemma", models.GEMMA, models.GEMMA_TENSORS),
            ("mamba", models.MAMBA, models.MAMBA_TENSORS),
        )
    }


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """PEM files: two CAs, and server and client certificates signed by the first."""
    x509 = pytest.importorskip("cryptography.x509")
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")

    folder = tmp_path_factory.mktemp("certificates")
    now = datetime.datetime.now(datetime.UTC)

    def issue(name, issuer=None, names=("localhost", "127.0.0.1"), first_day=-1, last_day=30):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer_key = issuer.key if issuer else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=first_day))
            .not_valid_after(now + datetime.timedelta(days=last_day))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if issuer is None:
            unused = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
            usage = dict.fromkeys([*unused.split(), "encipher_only", "decipher_only"], False)
            builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        else:
            alternatives = [x509.IPAddress(ipaddress.ip_address(one)) if one[0].isdigit() else x509.DNSName(one) for one in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        (folder / f"{name}.encrypted.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"password"),
            )
        )
        return SimpleNamespace(key=key, subject=subject)

    ca = issue("ca")
    issue("other-ca")
    issue("server", ca)
    issue("elsewhere", ca, names=("elsewhere.example.org", "192.0.2.1"))
    issue("expired", ca, first_day=-9, last_day=-2)
    issue("early", ca, first_day=2)
    issue("client", ca)
    return folder


def completion(text="Hello", tokens=3):
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens},
    }


def calling():
    call = {"id": "1", "type": "function", "function": {"name": "say", "arguments": '{"word": "hello"}'}}
    return {"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"content": None, "tool_calls": [call]}}]}


def stream_lines():
    """The lines of a stream, as llama-server sends them."""
    deltas = [{"role": "assistant", "content": None}, {"content": "He"}, {"content": "l"}, {"content": "lo"}, {}]
    chunks = [{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"object": "chat.completion.chunk", "choices": [], "usage": {"completion_tokens": 3}})
    return [f"data: {json.dumps(chunk)}" for chunk in chunks] + ["data: [DONE]"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_args):
        pass

    def send(self, status, body, content_type="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        endpoint = self.server.endpoint
        endpoint.requests.append((self.command, self.path, self.headers["Authorization"], self.headers["Host"]))
        if self.path.startswith("/health"):
            self.send(endpoint.health.get(self.path, 404), {"status": "?"})
        elif self.headers["Authorization"] == f"Bearer {KEY}":
            self.send(endpoint.with_key, endpoint.models, headers=endpoint.headers)
        else:
            self.send(endpoint.no_key, {"error": {"message": "Invalid API Key"}})

    def do_POST(self):
        endpoint = self.server.endpoint
        endpoint.requests.append((self.command, self.path, self.headers["Authorization"], self.headers["Host"]))
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self.send(endpoint.no_key, {"error": {"message": "Invalid API Key"}})
            return
        time.sleep(endpoint.delay)
        if request["stream"]:
            self.stream()
        elif "tools" in request:
            self.send(*endpoint.tools)
        else:
            self.send(*endpoint.chat)

    def stream(self):
        endpoint = self.server.endpoint
        self.send_response(200)
        self.send_header("Content-Type", endpoint.stream_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in endpoint.stream:
            data = f"{line}\n\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            time.sleep(0.002)
        if endpoint.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args):
        pass  # clients that go away are part of the tests


@pytest.fixture
def start_endpoint(certificates):
    """``start_endpoint()`` gives a running endpoint; attributes can be changed while it runs."""
    servers = []

    def start(certificate="server", client_ca=None, tls=True):
        server = QuietServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates / f"{certificate}.pem", certificates / f"{certificate}.key")
            if client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(certificates / client_ca)
            # The handshake happens in the thread of the request, so that a refused one stops nobody else.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.endpoint = SimpleNamespace(
            key=KEY,
            port=server.server_port,
            url=f"https://localhost:{server.server_port}",
            requests=[],
            health={"/health": 200},
            no_key=401,
            with_key=200,
            headers=(),
            models={"object": "list", "data": [{"id": "tiny"}, {"id": "small"}]},
            chat=(200, completion()),
            tools=(200, calling()),
            stream=stream_lines(),
            stream_type="text/event-stream",
            cut=False,
            delay=0,
        )
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server.endpoint

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(tmp_path):
    """What answers as a router of two models."""
    with LlamaServer(tmp_path / "llama.sock") as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one
        one.shutdown()
