# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets a module say how far it is.

A module cannot print. It writes a small file instead, which the action plugin of
``plugin_utils/_long_job.py`` reads and shows on the operator's terminal.
"""

from __future__ import annotations

import json
import os
import time

SECONDS_BETWEEN_WRITES = 1.0


class ProgressFile:
    """A JSON file with the newest figures of one job, replaced at most once a second.

    :param path: where to write; None means that nobody watches, and nothing is written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._phase = ""
        self._due = 0.0

    def update(self, phase: str, done: int, total: int | None, unit: str) -> None:
        """Notes how far the job is. A new phase is written at once, everything else when it is time.

        :param phase: what is being done, for people, such as ``downloading``.
        :param done: how much of it is done, in units.
        :param total: how much there is to do, or None when that is not known.
        :param unit: ``bytes``, or a word for people, such as ``steps``.
        """
        now = time.monotonic()
        if self._path is None or (phase == self._phase and now < self._due):
            return
        self._phase = phase
        self._due = now + SECONDS_BETWEEN_WRITES
        figures = {"phase": phase, "done": done, "total": total, "unit": unit, "time": time.time(), "pid": os.getpid()}
        temporary = f"{self._path}.new"
        try:
            # Not through a link that somebody else put there: the module may run as root.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(figures, file)
            os.replace(temporary, self._path)
        except OSError:
            pass  # Work that goes well must not fail for want of a progress display.
