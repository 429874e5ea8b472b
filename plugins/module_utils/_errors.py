# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception type of the collection's private helpers."""

from __future__ import annotations


class CopilotError(Exception):
    """A problem that a person can act on.

    Helpers raise it with a text that says what was wrong and what to do; modules and
    plugins turn it into their own kind of failure.
    """
