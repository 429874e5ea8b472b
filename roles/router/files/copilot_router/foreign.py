# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prepares requests for engines outside the fleet, as the router of one of the fleet's servers does."""

from __future__ import annotations

from . import prepare
from .histories import Needs
from .question import Question
from .reply import Headers
from .turn import Asked


def prepared(asked: Asked, name: str, needs: Needs | None) -> tuple[bytes, Headers]:
    """Returns the prepared body, and headers about its changes for the client. Raises BadRequest.

    :param name: of the model there.
    :param needs: of its template; None: it does not say, and the history stays as it is.
    """
    content = asked.content if asked.content.get("model") == name else {**asked.content, "model": name}
    # Does not request progress, since not every engine supports it.
    question = Question(asked.path.removeprefix("/v1"), name, False, content)
    found = prepare.prepared(question, asked.body_for(name), needs)
    return found.body, found.headers
