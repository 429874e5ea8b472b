# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many tokens an answer says that it took."""

from __future__ import annotations

import json


def tokens_in(content: bytes) -> dict[str, int]:
    """Returns what llama-server counted, by the names that OpenAI's API has for it; nothing where it says nothing.

    :param content: a whole answer, or the last events of a stream.
    """
    for line in reversed(content.splitlines()):
        try:
            said = json.loads(line.removeprefix(b"data:"))
            if usage := said.get("usage"):
                prompt, answer = usage["prompt_tokens"], usage.get("completion_tokens", 0)
            else:
                times = said["timings"]
                prompt, answer = times["prompt_n"] + times.get("cache_n", 0), times["predicted_n"]
            prompt, answer = int(prompt), int(answer)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return {}
