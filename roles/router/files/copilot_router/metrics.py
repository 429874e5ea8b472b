# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Prometheus metrics of a server and a balancer.

Labels are models and backends, whose number the inventory limits, and constants from here. They contain nothing from requests,
and no developers' names. Current values, such as the length of the queue, are read on each scrape.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from resource import getpagesize
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .breaker import State
from .pool import Health, Lease, Outcome
from .reply import OUTCOMES, Reply, Send
from .tokens import Timings, warmth

CERTIFICATE_END = "x-copilot-certificate-end"  # header that the gateway adds to requests
CONTENT_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
# Buckets in seconds. A CPU processes a long prompt for minutes.
FIRST_TOKEN = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 90, 120, 180, 300, 600, 1200, 2400)
QUEUE = (0.1, 1, 5, 10, 30, 60, 120, 300, 600, 1200, 2400)
KINDS = ("computed", "cached", "generated")
LOADED = ("loaded", "sleeping")

disable_created_metrics()


async def tell(send: Send, text: bytes) -> None:
    """Sends the metrics."""
    head = [CONTENT_TYPE, (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": text})


def end_of(text: str) -> float | None:
    """Returns the time that HAProxy says so, YYMMDDhhmmss in UTC, in seconds since 1970; None when it is none."""
    try:
        return datetime.strptime(text, "%y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def version_of(link: Path) -> str:
    """Returns the version of an engine: a link leads to a folder that is named after it and after what it was compiled for."""
    try:
        return link.readlink().name.rpartition("-")[0]
    except OSError:
        return ""


def numbers(path: Path) -> dict[str, float]:
    """Returns the numbers of a file of the kernel, by the word before each; none when it is not there."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    pairs = [line.rpartition(" ") for line in lines]
    return {word: float(number) for word, _blank, number in pairs if number.isdecimal()}


class _Process(Collector):
    """This process, without what its unit hides from it."""

    def __init__(self) -> None:
        self._start = time.time()

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("process_cpu_seconds", "Seconds of processor time.", time.process_time())
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory.", pages * getpagesize())
        yield GaugeMetricFamily("process_start_time_seconds", "Start time, in seconds since 1970.", self._start)


class _Read(Collector):
    """Metrics that are computed on each scrape."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Describes no metrics in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._read()


class _Metrics:
    """What both have.

    :param of: ``server`` or ``balancer``, which all names begin with.
    :param labels: by which tokens and first tokens are told apart.
    """

    def __init__(self, of: str, labels: tuple[str, ...], read: Callable[[], Iterable[Metric]]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._prefix = f"copilot_{of}"
        self._certificate_end: float | None = None
        self.registry.register(_Process())
        self.registry.register(_Read(read))
        self.registry.register(_Read(self._certificate))
        self.requests = self._counter("requests", "Requests, by outcome.", ("model", "outcome"))
        self.refusals = self._counter("refusals", "Requests that were refused with 503, by reason.", ("model", "reason"))
        self.tokens = self._counter("tokens", "Prompt tokens, computed or cached, and generated tokens.", (*labels, "kind"))
        self.first_token = Histogram(
            f"{self._prefix}_first_token_seconds",
            "From the arrival of a request to the first part of its stream. At least half of a warm prompt was cached.",
            (*labels, "prompt"),
            buckets=FIRST_TOKEN,
            registry=self.registry,
        )

    def _counter(self, name: str, words: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"{self._prefix}_{name}", words, labels, registry=self.registry)

    def _gauge(self, name: str, words: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
        family = GaugeMetricFamily(f"{self._prefix}_{name}", words, labels=labels)
        for label, value in values:
            family.add_metric(label, value)
        return family

    def text(self, headers: Mapping[str, str]) -> bytes:
        """Returns all of it as Prometheus reads it.

        :param headers: of the request: the gateway says which certificate it shows.
        """
        self._certificate_end = end_of(headers.get(CERTIFICATE_END, ""))
        return bytes(generate_latest(self.registry))

    def _certificate(self) -> Iterable[Metric]:
        words = "Expiry of the gateway's certificate, in seconds since 1970."
        if self._certificate_end is not None:
            yield self._gauge("certificate_end_timestamp_seconds", words, (), [((), self._certificate_end)])

    def ended(self, model: str, reply: Reply) -> None:
        """Counts the outcome of a request."""
        self.requests.labels(model, reply.outcome).inc()

    def refused(self, model: str, reason: str) -> None:
        """Counts a request that was refused with 503.

        :param reason: a word of ours.
        """
        self.refusals.labels(model, reason).inc()

    def _answered(self, labels: tuple[str, ...], reply: Reply, said: Timings | None) -> None:
        """Counts the tokens and times of a complete or partial answer."""
        first = reply.first_seconds
        if said is not None:
            for kind, tokens in zip(KINDS, (said.computed, said.cached, said.answer), strict=True):
                self.tokens.labels(*labels, kind).inc(max(0, tokens))
        if first is not None:
            prompt = warmth(said.cached, said.cached + said.computed) if said is not None else "unknown"
            self.first_token.labels(*labels, prompt).observe(first)


class ServerMetrics(_Metrics):
    """Of a server.

    :param state: returns the state for balancers.
    :param developers: returns for each model how many have a request, and how many of these have none that runs.
    :param cgroup: llama-server's control group; None: no metrics of its memory.
    :param engine: a link to the folder of the engine; None: no metric of its version.
    """

    def __init__(
        self,
        models: Iterable[str],
        state: Callable[[], Mapping[str, Any]],
        developers: Callable[[], Mapping[str, tuple[int, int]]],
        cgroup: Path | None = None,
        engine: Path | None = None,
    ) -> None:
        super().__init__("server", ("model",), self._states)
        self._state, self._developers, self._cgroup, self._engine = state, developers, cgroup, engine
        self.queue = Histogram(
            f"{self._prefix}_queue_seconds",
            "From the arrival of a request until it was sent to llama-server.",
            ("model",),
            buckets=QUEUE,
            registry=self.registry,
        )
        self.sent_again = self._counter(
            "sent_again", "Requests that llama-server failed and that were sent to it again.", ("model",)
        )
        for model in models:  # counters must exist from the start, or Prometheus misses the first increase
            self.queue.labels(model)
            self.sent_again.labels(model)
            for outcome in OUTCOMES:
                self.requests.labels(model, outcome)
            for kind in KINDS:
                self.tokens.labels(model, kind)

    def sent(self, model: str, waited: float, *, again: bool) -> None:
        """Notes that llama-server is sent a request.

        :param waited: seconds since it came.
        :param again: it was sent before.
        """
        if again:
            self.sent_again.labels(model).inc()
        else:
            self.queue.labels(model).observe(waited)

    def ended(self, model: str, reply: Reply) -> None:
        """Notes what became of a request, and what llama-server says of the answer."""
        super().ended(model, reply)
        self._answered((model,), reply, reply.said)

    def _states(self) -> Iterator[Metric]:
        state = self._state()

        def by_model(name: str, words: str, values: Mapping[str, float]) -> Metric:
            return self._gauge(name, words, ("model",), [((model,), value) for model, value in values.items()])

        yield by_model("slots", "Slots of llama-server.", state["slots"])
        yield by_model("requests_running", "Requests that occupy a slot.", state["busy"])
        yield by_model("requests_queued", "Requests in the queue.", state["queued"])
        developers = self._developers()
        words = "Developers with a running or queued request."
        yield by_model("developers", words, {model: number for model, (number, _waiting) in developers.items()})
        words = "Developers with a queued request and no running one."
        yield by_model("developers_waiting", words, {model: number for model, (_all, number) in developers.items()})
        loaded = {model: float(value in LOADED) for model, value in state["models"].items()}
        yield by_model("model_loaded", "Whether the model is loaded.", loaded)
        ready = float(state["health"] == "ready")
        yield self._gauge("engine_ready", "Whether llama-server is ready.", (), [((), ready)])
        left = "Remaining seconds of a drain, in which no slot is assigned."
        yield self._gauge("draining_seconds", left, (), [((), state["draining"])])
        if self._engine is not None:
            version = ((version_of(self._engine),), 1.0)
            yield self._gauge("engine_info", "Installed version of the engine.", ("version",), [version])
        if self._cgroup is not None:
            yield from self._memory(self._cgroup)

    def _memory(self, cgroup: Path) -> Iterator[Metric]:
        """Metrics of the kernel. It forgets stopped units, so OOM kills are those of the whole slice."""
        parts = {key: value for key, value in numbers(cgroup / "memory.stat").items() if key in ("anon", "file")}
        words = "Memory of llama-server: private (anon), and mapped files such as weights (file)."
        yield self._gauge("engine_memory_bytes", words, ("kind",), [((kind,), value) for kind, value in parts.items()])
        limit = numbers(cgroup / "memory.max")
        yield self._gauge(
            "engine_memory_limit_bytes", "Memory limit of llama-server.", (), [((), value) for value in limit.values()]
        )
        kills = CounterMetricFamily(f"{self._prefix}_oom_kills", "Processes of the services that the OOM killer stopped.")
        for value in [one for key, one in numbers(cgroup.parent / "memory.events").items() if key == "oom_kill"]:
            kills.add_metric((), value)
        yield kills


class BalancerMetrics(_Metrics):
    """Of a balancer.

    :param state: returns the state of all backends, as the pool's ``snapshot`` does, each with its ``slots``.
    """

    def __init__(self, state: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        super().__init__("balancer", ("model", "backend"), self._states)
        self._state = state
        self._known: dict[str, frozenset[str]] = {"model": frozenset(), "backend": frozenset()}
        there = ("model", "backend")
        self.attempts = self._counter("attempts", "Requests sent to a backend, by outcome.", (*there, "outcome"))
        self.retries = self._counter("retries", "Requests that a backend failed and that were retried at another.", ("model",))
        self.choices = self._counter("choices", "Choices of a backend, by reason.", (*there, "reason"))
        words = "Answers, by the expected and the actual share of their prompt in the backend's cache."
        self.predictions = self._counter("predictions", words, (*there, "predicted", "found"))

    def chosen(self, lease: Lease, *, again: bool) -> None:
        """Notes a choice.

        :param again: another backend has failed the request.
        """
        self.choices.labels(lease.request.model, lease.backend.id, lease.reason).inc()
        if again:
            self.retries.labels(lease.request.model).inc()

    def freed(self, lease: Lease, outcome: Outcome, reply: Reply, said: Timings | None) -> None:
        """Notes the end of a request at a backend, which may have left the pool."""
        if lease.backend.id not in self._known["backend"]:
            return
        labels = (lease.request.model, lease.backend.id)
        self.attempts.labels(*labels, outcome.value).inc()
        self._answered(labels, reply, said)
        if said is not None:
            prompt = said.cached + said.computed
            self.predictions.labels(*labels, warmth(lease.expected, prompt), warmth(said.cached, prompt)).inc()

    def keep(self, models: Iterable[str], backends: Iterable[str]) -> None:
        """Forgets all others: they have left the pool. The requests of each model are seen to begin."""
        kept = {"model": frozenset(models), "backend": frozenset(backends)}
        by_backend = (self.tokens, self.first_token, self.attempts, self.choices, self.predictions)
        metrics = {"model": (*by_backend, self.requests, self.refusals, self.retries), "backend": by_backend}
        for label, names in kept.items():
            for gone in self._known[label] - names:
                for metric in metrics[label]:
                    metric.remove_by_labels({label: gone})
        self._known = kept
        for model in kept["model"]:
            self.retries.labels(model)
            for outcome in OUTCOMES:
                self.requests.labels(model, outcome)

    def _states(self) -> Iterator[Metric]:
        found = list(self._state())

        def each(name: str, words: str, key: str) -> Metric:
            values = [((str(one["id"]), str(one["zone"])), float(one[key])) for one in found]
            return self._gauge(name, words, ("backend", "zone"), values)

        def one_of(name: str, words: str, key: str, of: Iterable[str]) -> Metric:
            values = [((str(one["id"]), word), float(one[key] == word)) for one in found for word in of]
            return self._gauge(name, words, ("backend", key), values)

        yield each("backend_slots", "Slots of a backend.", "slots")
        yield each("backend_requests_in_flight", "In-flight requests that this balancer sent to a backend.", "in_flight")
        yield each(
            "backend_requests_reported", "Requests that a backend reports, including those of other balancers.", "reported"
        )
        yield one_of("backend_health", "Health of a backend, with 1 for the current state.", "health", list(map(str, Health)))
        yield one_of(
            "backend_breaker", "Circuit breaker of a backend, with 1 for the current state.", "state", list(map(str, State))
        )
