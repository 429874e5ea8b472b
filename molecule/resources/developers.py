# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Developers' programs: one that calls the API, and a crowd of them that never stop."""

from __future__ import annotations

import http.client
import json
import math
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any


def eventually(true: Callable[[], Any], what: str, seconds: float = 120, every: float = 0.2) -> None:
    """Waits until something is so, and looks again after so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(every)


@dataclass
class Answer:
    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stream:
    """A stream as a developer's program sees it: whether it ended as the protocol wants it, and with what."""

    status: int
    pieces: list[str] = field(default_factory=list)
    finished: bool = False  # [DONE] or an error came, and then the end of the answer
    error: str = ""
    seconds_to_first: float = 0.0
    at: list[float] = field(default_factory=list)  # when each piece came, by the monotonic clock


@dataclass
class Client:
    """A developer's program: it trusts one CA, the fleet's, and nothing else."""

    key: str | None
    address: str
    ca: Path
    model: str = "devstral-small-2"

    def question(self, **options: Any) -> dict[str, Any]:
        """Returns a question that begins a new conversation, which no server holds."""
        hello = {"role": "user", "content": f"Hello, my number is {secrets.token_hex(4)}"}
        return {"model": self.model, "messages": [hello], "max_tokens": 8, **options}

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.ca))
        return http.client.HTTPSConnection(self.address, 8443, timeout=120, context=context)

    def send(self, connection: http.client.HTTPSConnection, method: str, path: str, body: Any) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        connection.request(method, path, json.dumps(body) if body else None, headers)
        return connection.getresponse()

    def request(self, method: str, path: str, body: Any = None) -> Answer:
        connection = self.connect()
        try:
            response = self.send(connection, method, path, body)
            return Answer(
                response.status, response.read().decode(), {name.lower(): value for name, value in response.headers.items()}
            )
        finally:
            connection.close()

    def chat(self, **options: Any) -> Answer:
        return self.request("POST", "/v1/chat/completions", self.question(**options))

    def stream(self, **options: Any) -> Stream:
        """Reads a whole stream."""
        *_pieces, seen = self.streaming(**options)
        return seen

    def streaming(self, **options: Any) -> Iterator[Stream]:
        """Yields what was seen so far at each piece, and at the end."""
        connection = self.connect()
        started = time.monotonic()
        try:
            response = self.send(connection, "POST", "/v1/chat/completions", self.question(stream=True, **options))
            seen = Stream(response.status)
            if response.status != http.client.OK:
                seen.error = response.read().decode()
                yield seen
                return
            for line in response:
                data = line.decode().strip().removeprefix("data: ")
                if data == "[DONE]":
                    seen.finished = not response.read().strip()
                elif line.startswith(b"data: "):
                    seen.seconds_to_first = seen.seconds_to_first or time.monotonic() - started
                    piece = json.loads(data)
                    if "error" in piece:
                        seen.error = str(piece["error"])
                        seen.finished = not response.read().strip()
                    else:
                        seen.pieces.append(data)
                        seen.at.append(time.monotonic())
                        yield seen
            yield seen
        finally:
            connection.close()


class Crowd:
    """Developers, each of whom asks again as soon as the answer is there.

    :param tokens: of an answer.
    :param seconds: that an answer should take: one that was quicker is followed by longer ones.
    """

    def __init__(self, client: Client, developers: int, tokens: int, seconds: float = 0) -> None:
        self.streams: list[Stream] = []
        self.failures: list[str] = []
        self._client, self._tokens, self._seconds = client, tokens, seconds
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _one in range(developers)]

    def _work(self) -> None:
        tokens = self._tokens
        while not self._stop.is_set():
            try:
                stream = self._client.stream(max_tokens=tokens, ignore_eos=True)
            except (OSError, ValueError) as error:
                self.failures.append(repr(error))
            else:
                self.streams.append(stream)
                took = stream.at[-1] - stream.at[0] if stream.at else 0
                if 0 < took < self._seconds:
                    tokens = int(1.2 * tokens * self._seconds / took)

    def asked(self, more: int) -> None:
        """Returns when so many more answers have come."""
        before = len(self.streams)
        eventually(lambda: len(self.streams) >= before + more, f"{more} more answers; failures: {self.failures}")

    def lost(self) -> list[str]:
        """What a developer saw that was not an answer. A stream that ends with an error event after its first piece is not
        among it: its server died."""
        return self.failures + [
            f"status {one.status}, {len(one.pieces)} pieces, finished {one.finished}: {one.error}"
            for one in self.streams
            if one.status != 200 or not one.finished or (one.error and not one.pieces)
        ]

    def cut(self) -> list[Stream]:
        """Streams that had begun on a server that died."""
        return [one for one in self.streams if one.error]

    def slowest_first_token(self, since: float = 0.0, until: float = math.inf) -> float:
        """Returns the 95th percentile of the seconds to the first token, of answers that began in a time."""
        seconds = sorted(one.seconds_to_first for one in self.streams if one.at and since <= one.at[0] <= until)
        return seconds[math.ceil(0.95 * len(seconds)) - 1]

    def longest_silence(self, since: float = 0.0, until: float = math.inf) -> float:
        """Returns the longest time, within a time, in which no developer got a piece of an answer, in seconds."""
        moments = sorted(at for one in self.streams for at in one.at if since <= at <= until)
        return max(after - before for before, after in pairwise(moments))

    def __enter__(self) -> Crowd:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join(timeout=120)
