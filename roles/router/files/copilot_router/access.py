# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The access log: a line for each request without its text, and for each action of an administrator."""

from __future__ import annotations

import logging
import re

from .names import Mode, Names
from .reply import Reply

logger = logging.getLogger(__name__)
UNSHOWN = re.compile(r"[^!-~]")  # characters of a name that could end a line, or look like another field


def line(user: str, model: str, reply: Reply) -> str:
    """Returns the line of a finished request. The journal adds the time."""
    words = [f"user={_shown(user)}", f"model={_shown(model)}", f"outcome={reply.outcome}"]
    words += [f"status={reply.status or '-'}", f"seconds={reply.seconds:.1f}"]
    if reply.first_seconds is not None:
        words.append(f"first={reply.first_seconds:.1f}")
    if (said := reply.said) is not None:
        words += [f"computed={said.computed}", f"cached={said.cached}", f"generated={said.answer}"]
    return "request " + " ".join(words)


def _shown(text: str) -> str:
    return UNSHOWN.sub("?", text) or "-"


class AccessLog:
    """The access log, if it is enabled.

    :param key: of pseudonyms.
    """

    def __init__(self, mode: Mode, key: str = "") -> None:
        self._names = Names(mode, key, "access_log")

    def request(self, user: str, model: str, reply: Reply) -> None:
        """Logs a request that has ended."""
        if self._names.mode is not Mode.OFF:
            logger.info(line(self._names.of(user), model, reply))

    def action(self, user: str, what: str, model: str | None, status: int) -> None:
        """Logs what an administrator did, and with which status.

        :param what: a word of ours.
        :param model: of which model; None: of all, or of none.
        """
        if self._names.mode is not Mode.OFF:
            words = f"user={_shown(self._names.of(user))} what={what} model={_shown(model or '')} status={status}"
            logger.info("action %s", words)
