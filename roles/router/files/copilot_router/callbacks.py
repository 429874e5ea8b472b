# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What LiteLLM calls while it handles a request: ``litellm_settings.callbacks``."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy import proxy_server
from litellm.proxy._types import ProxyException
from litellm.types.router import Deployment, LiteLLM_Params, ModelInfo

from .errors import error_object
from .settings import Settings
from .transport import API_BASE, current_turn


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


class Hooks(CustomLogger):
    """Refuses unknown models, and ends broken streams as OpenAI's clients expect."""

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> None:
        """Raises ProxyException: 404 for a model that no backend has, 400 for none at all."""
        models = sorted(proxy_server.llm_router.get_model_names())
        if not data.get("model"):
            raise ProxyException(
                message="The request names no model. Send JSON, with 'Content-Type: application/json'.",
                type="invalid_request_error",
                param="model",
                code=400,
            )
        if data.get("model") not in models:
            raise ProxyException(
                message=f"The model {data.get('model')!r} does not exist. There is: {', '.join(models) or 'none yet'}.",
                type="invalid_request_error",
                param="model",
                code=404,
                openai_code="model_not_found",
            )

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: AsyncIterator[Any], request_data: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        """Passes the pieces on. When the stream breaks, the last one is the error; LiteLLM adds ``data: [DONE]`` after it."""
        try:
            async for piece in response:
                yield piece
        except Exception as error:
            turn = current_turn.get(None)
            status = getattr(error, "status_code", 502)
            message = (turn and turn.broken) or str(error)
            yield f"data: {json.dumps({'error': error_object(502 if turn and turn.broken else status, message)})}\n\n"


hooks = Hooks()
