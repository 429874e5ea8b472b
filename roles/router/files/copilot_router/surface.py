# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The paths of servers and balancers, a balancer's list of models, and CORS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .admin import wish_at
from .question import BadRequest
from .reply import Headers

HEALTH_PATHS = ("/health", "/v1/health", "/readyz", "/health/liveliness", "/health/liveness", "/health/readiness")
MODELS_PATH = "/v1/models"
METRICS_PATH = "/metrics"
# Prefixes of a host that is both server and balancer.
SERVER_METRICS_PATH, BALANCER_METRICS_PATH = "/metrics/server", "/metrics/balancer"
METRICS_PATHS = (METRICS_PATH, SERVER_METRICS_PATH, BALANCER_METRICS_PATH)
# Paths that are forwarded to backends.
CARRIED_PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/infill",
)
TYPED_ERRORS = ("/v1/messages", "/v1/messages/count_tokens", "/v1/responses")  # their errors have a type
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def methods_of(path: str) -> tuple[str, ...]:
    """Returns the methods of a path; empty if the path does not exist."""
    if path in CARRIED_PATHS:
        return ("POST",)
    if path in (*HEALTH_PATHS, *METRICS_PATHS, MODELS_PATH) or path.startswith(f"{MODELS_PATH}/"):
        return ("GET", "HEAD")
    wish = wish_at(path)
    return wish.verb.methods if wish else ()


def check_method(method: str, path: str) -> None:
    """Raises BadRequest if the path exists, but not with this method. CORS preflight requests are allowed everywhere."""
    methods = methods_of(path)
    if methods and method not in (*methods, "OPTIONS"):
        allow = [(b"allow", ", ".join(methods).encode())]
        raise BadRequest(405, f"There is no {method} {path} here, but {methods[0]}.", "method_not_allowed", allow)


def cors_headers(origins: str, origin: str, *, preflight: bool) -> Headers:
    """Returns the CORS headers for a request.

    :param origins: who may: ``localhost``, ``*``, or origins with commas between.
    :param origin: of the page; empty: it is no browser that asks.
    """
    several = [one.strip() for one in origins.split(",")]
    allowed = origins
    if origins == "*" or (len(several) > 1 and origin in several):
        allowed = origin
    elif origins == "localhost":
        allowed = origin if _host(origin) in LOCAL_HOSTS else ""
    elif len(several) > 1:
        allowed = ""
    headers = [("Access-Control-Allow-Origin", allowed)] if allowed else []
    if preflight:
        headers += [("Access-Control-Allow-Credentials", "true"), ("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")]
        headers += [("Access-Control-Allow-Headers", "*")]
    return [(name.encode(), value.encode("latin-1")) for name, value in headers]


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


Listing = Mapping[str, Any]


def listing(models: Iterable[str], said: Iterable[tuple[Mapping[str, str], Listing]]) -> dict[str, Any]:
    """Returns the list of models as OpenAI's API has it, with what llama-server says of each more than that.

    A model that several backends have is described as by the one with the smallest context: what fits there fits everywhere.

    :param said: of each backend: public name of a model -> its name there, and what it says at /v1/models.
    """
    backends = list(said)
    return {"object": "list", "data": [_entry(name, backends) for name in models]}


def _entry(model: str, backends: list[tuple[Mapping[str, str], Listing]]) -> dict[str, Any]:
    found = [
        {**one, "id": model}
        for names, said in backends
        for one in entries(said)
        if model in names and one.get("id") == names[model]
    ]
    return min(found, key=_context, default={"id": model, "object": "model", "created": 0, "owned_by": "slm-copilot"})


def entries(said: Any) -> list[dict[str, Any]]:
    """Returns the models of an answer at /v1/models; none when it is something else."""
    data = said.get("data") if isinstance(said, dict) else None
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


def _context(entry: Mapping[str, Any]) -> float:
    meta = entry.get("meta")
    size = meta.get("n_ctx") if isinstance(meta, dict) else None
    return float(size) if isinstance(size, int) and size > 0 else float("inf")
