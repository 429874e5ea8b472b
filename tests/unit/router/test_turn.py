# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a client of a balancer asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from copilot_router.question import BadRequest
from copilot_router.turn import Asked, content_of, model_of

JSON = {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        pytest.param(JSON, b"[1]", 400, id="a list"),
        pytest.param(JSON, b"null", 400, id="null"),
        pytest.param(JSON, b"7", 400, id="a number"),
        pytest.param(JSON, b"", 400, id="nothing"),
        pytest.param(JSON, b'{"model":', 400, id="half of it"),
        pytest.param(JSON, b"\xff\xfe{}", 400, id="no text"),
        pytest.param(JSON, b"[" * 100_000, 400, id="too deep"),
        pytest.param({}, b"{}", 400, id="of no kind"),
        pytest.param({"content-type": "text/plain"}, b"{}", 400, id="of another kind"),
        pytest.param({**JSON, "content-encoding": "gzip"}, b"\x1f\x8b", 415, id="compressed"),
    ],
)
def test_a_body_that_is_no_question(headers: dict[str, str], body: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as found:
        content_of(headers, body)
    assert found.value.status == status


def test_what_a_body_says() -> None:
    assert content_of(JSON, b'{"model": "m"}') == {"model": "m"}


@pytest.mark.parametrize(
    ("content", "models", "model"),
    [
        pytest.param({"model": "a"}, ["a", "b"], "a", id="named"),
        pytest.param({}, ["a"], "a", id="the only one"),
        pytest.param({"model": ""}, ["a"], "a", id="the only one, by no name"),
        pytest.param({}, ["a", "b"], 400, id="one of several, not named"),
        pytest.param({"model": 7}, ["a"], 400, id="a number"),
        pytest.param({"model": ["a"]}, ["a"], 400, id="a list"),
        pytest.param({"model": "c"}, ["a", "b"], 404, id="unknown"),
        pytest.param({"model": "c"}, [], 404, id="unknown where there is none"),
    ],
)
def test_the_model_that_is_meant(content: dict[str, Any], models: list[str], model: str | int) -> None:
    if isinstance(model, str):
        assert model_of(content, models) == model
        return
    with pytest.raises(BadRequest) as found:
        model_of(content, models)
    assert found.value.status == model


def test_a_backend_gets_what_was_sent_with_its_own_name_for_the_model() -> None:
    body = b'{ "model":"coder",  "x": 1.0 }'
    asked = Asked("/infill", "/infill", body, json.loads(body), "coder", "alice")
    assert asked.body_for("coder") == body
    assert json.loads(asked.body_for("tiny")) == {"model": "tiny", "x": 1.0}
    assert not asked.stream
