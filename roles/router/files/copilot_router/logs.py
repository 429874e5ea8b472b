# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logging: the router's own messages, and LiteLLM's without the contents of requests."""

from __future__ import annotations

import logging
import sys

from .turn import current_turn


class WithoutRequests(logging.Filter):
    """LiteLLM's errors quote a backend's, which may quote the request. The client gets the message, the log does not."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Removes the message from what is logged while a request is served."""
        if current_turn.get() is not None:
            error = record.exc_info[1] if record.exc_info else sys.exc_info()[1]
            record.msg, record.args = "a request failed (%s)", (type(error).__name__ if error else "no exception",)
            record.exc_info = record.exc_text = record.stack_info = None
        return True


def set_up(logger: logging.Logger) -> None:
    """Makes the router's logger write to the journal, and removes requests from LiteLLM's logs."""
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
            logging.getLogger(name).addFilter(WithoutRequests())
