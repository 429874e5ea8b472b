# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server that takes its time as one on CPUs does, and speaks what programs expect: chat completions, responses, messages.

It answers each question after so many seconds. In a stream the headers go out at once, and comments while it waits, as from our
router; with --late-headers, and for who asks for no stream, nothing goes out before. ``GET /asked`` says what it was asked.
Usage: slow_server.py --port PORT --certificate CHAIN --key KEY --wait SECONDS [--late-headers]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

ANSWER = "Forty-two, after a while."
MODEL = "devstral-small-2"
COMMENTS = 10  # seconds from one to the next


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
    wait = 0.0
    late_headers = False
    asked: ClassVar[list[dict[str, Any]]] = []

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        model = {"id": MODEL, "object": "model", "created": 1, "owned_by": "slow"}
        self.whole(200, self.asked if self.path == "/asked" else {"object": "list", "data": [model]})

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
            if stream and not self.late_headers:
                self.begin()
                self.idle(comments=True)
            else:
                self.idle(comments=False)
            if not stream:
                return self.whole(200, answer)
            if self.late_headers:
                self.begin()
            for name, event in answer:
                data = event if isinstance(event, str) else json.dumps(event)
                self.piece((f"event: {name}\n" if name else "") + f"data: {data}\n\n")
            self.piece("")
        except OSError:  # who asked has left
            self.asked[-1]["left"] = True
            self.close_connection = True

    def idle(self, comments: bool) -> None:
        end = time.monotonic() + self.wait
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, COMMENTS))
            if comments:
                self.piece(": still computing\n\n")

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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--wait", type=float, required=True)
    parser.add_argument("--late-headers", action="store_true")
    options = parser.parse_args()
    Handler.wait, Handler.late_headers = options.wait, options.late_headers
    server = Server(("127.0.0.1", options.port), Handler)
    server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.context.load_cert_chain(options.certificate, options.key)
    if place := os.environ.get("NOTIFY_SOCKET"):  # systemd says to whoever started it that it is there
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", place.replace("@", "\0", 1) if place.startswith("@") else place)
    server.serve_forever()


if __name__ == "__main__":
    main()
