# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes of what a client sent what llama-server is sent: the same bytes, unless something has to be done."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .anthropic_form import rewritten
from .histories import HistoryProblem, Needs, rewrite
from .progress import asks_for_progress
from .question import BadRequest, Question
from .tools import ANY, NOT_SHOWN, with_tools

HISTORY = b"x-copilot-history"  # what was done, in the codes of histories.py
TOOLS = b"x-copilot-tools"


@dataclass(frozen=True)
class Prepared:
    """What is sent.

    :param headers: what the client is told of it.
    :param progress: how far the prompt is comes with the answer, and is not for the client.
    :param needs: by which this was made.
    """

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    progress: bool = False
    needs: Needs | None = None


def prepared(question: Question, body: bytes, needs: Needs | None) -> Prepared:
    """Returns what is to be sent. Raises BadRequest.

    :param needs: of the model's template; None: unknown, the history stays as it is.
    """
    content = given = dict(question.content)
    headers = []
    done: tuple[str, ...] = ()
    if question.path in ANY:
        content, not_shown = with_tools(question.path, content, shown=needs is None or needs.tools)
        if not_shown:
            headers.append((TOOLS, NOT_SHOWN.encode()))
    if question.path == "/chat/completions" and needs is not None:
        try:
            found = rewrite(content, needs)
        except HistoryProblem as problem:
            raise BadRequest(problem.status, f"{problem}.", "invalid_history") from None
        content, done = found.body, found.done
    elif question.path == "/messages" and needs is not None:
        content, done = rewritten(content, needs)
    if done:
        headers.append((HISTORY, ",".join(done).encode()))
    if content is not given:
        body = json.dumps(content).encode()
    progress = asks_for_progress(question)
    if progress:
        body = body.replace(b"{", b'{"return_progress":true,', 1)
    return Prepared(body, tuple(headers), progress, needs)
