# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server that takes its time as one on CPUs does, and speaks what programs expect: chat completions, responses, messages.

It reads 40 tokens of a prompt each second, and each prompt has as many as it was started with. On a port it is an endpoint that
says nothing, not even headers, before it answers. On a Unix socket it is llama-server, as our router knows it: in a stream the
headers go out at once, and how far the prompt is to who asks for that. A prompt with the words of HOLD has no end. ``GET /asked``
says what it was asked.

Usage: slow_server.py --tokens TOKENS (--port PORT --certificate CHAIN --key KEY | --socket PATH)
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, ClassVar

ANSWER = "Forty-two, after a while."
MODEL = "devstral-small-2"
HOLD = "Hold the slot."
SPEED = 40  # tokens of a prompt each second
BATCH = 2048  # tokens, after each of which llama-server says how far it is


def chat(stream: bool) -> Any:
    """What /v1/chat/completions answers: events with their names, or one body."""
    head = {"id": "chatcmpl-1", "created": 1, "model": MODEL}
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    if not stream:
        message = {"role": "assistant", "content": ANSWER}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ANSWER}, None), ({}, "stop")]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": why}]} for delta, why in deltas]
    chunks.append({"choices": [], "usage": usage})
    return [("", {**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks] + [("", "[DONE]")]


def responses(stream: bool) -> Any:
    """What /v1/responses answers."""
    part = {"type": "output_text", "text": ANSWER, "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}
    done = {"id": "resp_1", "object": "response", "status": "completed", "model": MODEL, "output": [item], "usage": usage}
    if not stream:
        return done
    begun = {**done, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}}),
        ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
        ("response.output_text.delta", {**place, "delta": ANSWER}),
        ("response.output_text.done", {**place, "text": ANSWER}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": done}),
    ]
    return [(name, {"type": name, "sequence_number": number, **event}) for number, (name, event) in enumerate(events)]


def messages(stream: bool) -> Any:
    """What /v1/messages answers."""
    text = {"type": "text", "text": ANSWER}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_sequence": None}
    usage = {"input_tokens": 9, "output_tokens": 5}
    if not stream:
        return {**head, "content": [text], "stop_reason": "end_turn", "usage": usage}
    events: list[tuple[str, dict[str, Any]]] = [
        ("message_start", {"message": {**head, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 0}}}),
        ("content_block_start", {"index": 0, "content_block": {**text, "text": ""}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": ANSWER}}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage}),
        ("message_stop", {}),
    ]
    return [(name, {"type": name, **event}) for name, event in events]


SPOKEN = {"/v1/chat/completions": chat, "/v1/responses": responses, "/v1/messages": messages}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    tokens = 0
    engine = False  # it is llama-server, else an endpoint
    asked: ClassVar[list[dict[str, Any]]] = []

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        model = {"id": MODEL, "object": "model", "created": 1, "owned_by": "slow"}
        found = {"/asked": self.asked, "/health": {"status": "ok"}, "/slots": []}
        self.whole(200, found.get(self.path, {"object": "list", "data": [model]}))

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        body, path = json.loads(text), self.path.partition("?")[0]
        if path == "/v1/messages/count_tokens":
            return self.whole(200, {"input_tokens": 9})
        if path not in SPOKEN:
            return self.whole(404, {"error": {"message": f"There is no {path} here.", "type": "not_found_error", "code": 404}})
        stream = bool(body.get("stream"))
        self.asked.append({"path": path, "stream": stream, "text": text, "headers": dict(self.headers)})
        answer = SPOKEN[path](stream)
        try:
            if stream and self.engine:
                self.begin()
            self.read_prompt(endless=HOLD in text, tells=self.engine and "return_progress" in body)
            if not stream:
                return self.whole(200, answer)
            if not self.engine:
                self.begin()
            for name, event in answer:
                data = event if isinstance(event, str) else json.dumps(event)
                self.piece((f"event: {name}\n" if name else "") + f"data: {data}\n\n")
            self.piece("")
        except OSError:  # who asked has left
            self.asked[-1]["left"] = True
            self.close_connection = True

    def read_prompt(self, endless: bool, tells: bool) -> None:
        done = 0
        while endless or done < self.tokens:
            batch = SPEED if endless else min(BATCH, self.tokens - done)
            time.sleep(batch / SPEED)
            done += batch
            if tells:
                progress = {"total": max(self.tokens, done), "cache": 0, "processed": done, "time_ms": done * 1000 // SPEED}
                self.piece(f"data: {json.dumps({'choices': [], 'prompt_progress': progress}, separators=(',', ':'))}\n\n")

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def whole(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    """Its handshakes are the connections' own threads' work, so that nobody who is slow at it holds up the others."""

    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True) as connection:
            self.RequestHandlerClass(connection, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Engine(ThreadingMixIn, UnixStreamServer):
    """In the place of llama-server."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--socket")
    options = parser.parse_args()
    Handler.tokens, Handler.engine = options.tokens, bool(options.socket)
    server: Engine | Server
    if options.socket:
        server = Engine(options.socket, Handler)
    else:
        server = Server(("127.0.0.1", options.port), Handler)
        server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.context.load_cert_chain(options.certificate, options.key)
    if place := os.environ.get("NOTIFY_SOCKET"):  # systemd says to whoever started it that it is there
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", place.replace("@", "\0", 1) if place.startswith("@") else place)
    server.serve_forever()


if __name__ == "__main__":
    main()
