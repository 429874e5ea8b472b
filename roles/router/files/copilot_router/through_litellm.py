# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Passes requests through LiteLLM, which admits them and counts their tokens.

LiteLLM gets only the model of a request and the tokens of its answer. The contents bypass it unchanged: it knows only the
parameters of OpenAI's own models, and would drop or refuse others. Its connection to a model is our own transport, which forwards
the request while LiteLLM waits.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import MutableMapping
from typing import Any

import httpx
from litellm.proxy import proxy_server
from litellm.types.router import Deployment, LiteLLM_Params, ModelInfo

from .balancer import Balancer
from .errors import error_object
from .reply import Message
from .settings import Settings
from .turn import Turn, current_turn

API_BASE = "http://127.0.0.1:9/v1"  # the address that LiteLLM sees; nothing is ever sent there, and no name is resolved
# Placeholder for the content, by path.
EMPTY: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": ""}]},
    "/v1/completions": {"prompt": ""},
    "/v1/embeddings": {"input": ""},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ""}}],
    },
    "/v1/completions": {"object": "text_completion", "choices": [{"index": 0, "finish_reason": "stop", "text": ""}]},
    "/v1/embeddings": {"object": "list", "data": []},
}
NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class Connection(httpx.AsyncBaseTransport):
    """LiteLLM's connection to all models."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carries the request that LiteLLM is about, and returns what it must know of the answer."""
        turn = current_turn.get()
        assert turn is not None and not turn.begun, "LiteLLM asks again, which is not its part"
        turn.begun = True
        await self._balancer.carry(turn)
        if turn.status >= 400:
            return httpx.Response(turn.status, json={"error": error_object(turn.status, "the client knows")})
        head = {"id": "answer", "created": int(time.time()), "model": turn.asked.model, "usage": {**NO_TOKENS, **turn.usage}}
        return httpx.Response(200, json={**head, **ANSWERS[turn.asked.path]})


async def through(turn: Turn, scope: MutableMapping[str, Any]) -> None:
    """Hands a request to LiteLLM, which has it carried; the turn has no status if it does not.

    :param scope: of the client's request.
    """
    path = turn.asked.path
    body = json.dumps({"model": turn.asked.model, **EMPTY[path]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.get_running_loop().create_future()  # our layer watches the client, and cancels this when it disconnects
        raise AssertionError

    async def discard(message: Message) -> None:
        """The client has its answer."""

    token = current_turn.set(turn)
    try:
        await proxy_server.app({**scope, "query_string": b"", "headers": headers}, receive, discard)
    finally:
        current_turn.reset(token)


def follow_models(settings: Settings) -> None:
    """Makes LiteLLM know the pool's models: one deployment for each, which stands for all backends that have it."""
    router = proxy_server.llm_router
    known = set(router.get_model_names())
    for name in known - set(settings.models):
        router.delete_deployment(id=f"pool-{name}")
    for name in set(settings.models) - known:
        parameters = LiteLLM_Params(
            model=f"openai/{name}",
            api_base=API_BASE,
            api_key="each backend has its own",
            max_retries=0,
        )
        router.add_deployment(Deployment(model_name=name, litellm_params=parameters, model_info=ModelInfo(id=f"pool-{name}")))
