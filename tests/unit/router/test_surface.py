# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a balancer shows."""

from __future__ import annotations

from typing import Any

import pytest
from copilot_router.question import BadRequest
from copilot_router.surface import check_method, cors_headers, listing, methods_of


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        pytest.param("/v1/chat/completions", ("POST",), id="a question"),
        pytest.param("/infill", ("POST",), id="a question without a version"),
        pytest.param("/v1/models", ("GET", "HEAD"), id="the list of models"),
        pytest.param("/v1/models/of/somebody", ("GET", "HEAD"), id="one model"),
        pytest.param("/metrics/balancer", ("GET", "HEAD"), id="what it counts"),
        pytest.param("/readyz", ("GET", "HEAD"), id="health"),
        pytest.param("/running", ("GET", "HEAD"), id="what runs"),
        pytest.param("/api/models/unload/x", ("POST",), id="to unload a model"),
        pytest.param("/v1/chat/completions/", (), id="a question with a slash too many"),
        pytest.param("/v1/modelsx", (), id="a path that only begins so"),
        pytest.param("/key/generate", (), id="litellm's"),
    ],
)
def test_each_path_has_its_methods(path: str, methods: tuple[str, ...]) -> None:
    assert methods_of(path) == methods


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", b"POST"),
        ("POST", "/v1/models", b"GET, HEAD"),
        ("DELETE", "/health", b"GET, HEAD"),
        ("GET", "/api/models/unload", b"POST"),
        ("HEAD", "/v1/models/x", None),
        ("OPTIONS", "/v1/responses", None),
        ("GET", "/metrics", None),
    ],
)
def test_another_method_is_told_the_right_one(method: str, path: str, allowed: bytes | None) -> None:
    if allowed is None:
        return check_method(method, path)
    with pytest.raises(BadRequest, match=f"There is no {method} {path} here") as wrong:
        check_method(method, path)
    assert (wrong.value.status, wrong.value.code, wrong.value.headers) == (405, "method_not_allowed", [(b"allow", allowed)])
    return None


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        pytest.param("localhost", "http://localhost:3000", "http://localhost:3000", id="a page of this machine"),
        pytest.param("localhost", "http://[::1]:3000", "http://[::1]:3000", id="by its IPv6 address"),
        pytest.param("localhost", "https://localhost.evil.example", None, id="a stranger called like it"),
        pytest.param("localhost", "http://[", None, id="no origin at all"),
        pytest.param("localhost", "", None, id="no browser"),
        pytest.param("*", "https://a.example", "https://a.example", id="anybody"),
        pytest.param("https://a.example", "https://b.example", "https://a.example", id="always the one"),
        pytest.param("https://a.example, https://b.example", "https://b.example", "https://b.example", id="one of several"),
        pytest.param("https://a.example,https://b.example", "https://c.example", None, id="none of several"),
    ],
)
def test_pages_that_may_ask(origins: str, origin: str, allowed: str | None) -> None:
    expected = [] if allowed is None else [(b"Access-Control-Allow-Origin", allowed.encode())]
    assert cors_headers(origins, origin, preflight=False) == expected


def said(name: str, **meta: Any) -> dict[str, Any]:
    return {"data": [{"id": name, "object": "model", "owned_by": "llamacpp", "meta": meta}]}


def test_a_model_has_the_smallest_context_of_those_who_have_it() -> None:
    backends = [({"coder": "large"}, said("large", n_ctx=8192)), ({"coder": "small"}, said("small", n_ctx=4096, n_params=7))]
    (one,) = listing(["coder"], backends)["data"]
    assert one == {"id": "coder", "object": "model", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_params": 7}}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="nothing yet"),
        pytest.param({"data": "x"}, id="no list"),
        pytest.param({"data": [1, {"id": 2}, {"id": "other"}]}, id="other models"),
        pytest.param({"error": {}}, id="an error"),
    ],
)
def test_a_model_of_which_nothing_is_known_is_listed_all_the_same(answer: dict[str, Any]) -> None:
    (one,) = listing(["coder"], [({"coder": "coder"}, answer)])["data"]
    assert (one["id"], one["object"], "meta" in one) == ("coder", "model", False)


@pytest.mark.parametrize("meta", [None, {"n_ctx": "many"}, {"n_ctx": None}, {}])
def test_a_context_that_is_no_number_is_not_the_smallest(meta: Any) -> None:
    backends = [({"m": "m"}, {"data": [{"id": "m", "meta": meta}]}), ({"m": "m"}, said("m", n_ctx=512))]
    assert listing(["m"], backends)["data"][0]["meta"] == {"n_ctx": 512}
