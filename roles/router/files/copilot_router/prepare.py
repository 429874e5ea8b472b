# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prepares a client's request for llama-server: the same bytes, unless something must be changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import anthropic_form, responses_form
from .histories import HistoryProblem, Message, Needs, rewrite
from .progress import asks_for_progress
from .question import BadRequest, Question
from .tools import ANY, NOT_SHOWN, with_tools

HISTORY = b"x-copilot-history"  # header with the changes, in the codes of histories.py
TOOLS = b"x-copilot-tools"

Read = Callable[[dict[str, Any], list[str]], list[Message]]
Write = Callable[[dict[str, Any], list[Message]], dict[str, Any]]
# APIs whose histories have a different format than chat/completions: their conversions.
FORMS: Mapping[str, tuple[Read, Write]] = {
    "/messages": (anthropic_form.to_chat, anthropic_form.with_history),
    "/responses": (responses_form.to_chat, responses_form.with_history),
}


@dataclass(frozen=True)
class Prepared:
    """The prepared request.

    :param headers: headers about its changes for the client.
    :param progress: how far the prompt is comes with the answer, and is not for the client.
    :param needs: by which this was made.
    """

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    progress: bool = False
    needs: Needs | None = None


def prepared(question: Question, body: bytes, needs: Needs | None) -> Prepared:
    """Returns the prepared request. Raises BadRequest.

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
    elif question.path in FORMS and needs is not None:
        content, done = rewritten(question.path, content, needs)
    if done:
        headers.append((HISTORY, ",".join(done).encode()))
    if content is not given:
        body = json.dumps(content).encode()
    progress = asks_for_progress(question)
    if progress:
        body = body.replace(b"{", b'{"return_progress":true,', 1)
    return Prepared(body, tuple(headers), progress, needs)


def rewritten(path: str, content: dict[str, Any], needs: Needs) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns a body whose history the template accepts, and the names of the changes.

    :param path: one of FORMS.
    :param content: it is not changed; if nothing is to be done, or it is of no form that is known, it is what is returned.
    """
    read, write = FORMS[path]
    mended: list[str] = []
    try:
        found = rewrite({"messages": read(content, mended)}, needs)
        done = tuple(dict.fromkeys([*mended, *found.done]))
        return (write(content, found.body["messages"]), done) if done else (content, ())
    except (HistoryProblem, ValueError, KeyError, TypeError, AttributeError):
        return content, ()  # llama-server reports the error
