# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who asked which model, and what became of it: a line for each request, and none of its words. Pure."""

from __future__ import annotations

import re

from .reply import Reply

UNSHOWN = re.compile(r"[^!-~]")  # of a name nothing ends a line, or looks like another part of it


def line(user: str, model: str, reply: Reply) -> str:
    """Returns the line of a request that has ended. The journal adds when."""
    words = [f"user={UNSHOWN.sub('?', user) or '-'}", f"model={UNSHOWN.sub('?', model)}", f"outcome={reply.outcome}"]
    words += [f"status={reply.status or '-'}", f"seconds={reply.seconds:.1f}"]
    if reply.first_seconds is not None:
        words.append(f"first={reply.first_seconds:.1f}")
    if (said := reply.said) is not None:
        words += [f"computed={said.computed}", f"cached={said.cached}", f"generated={said.answer}"]
    return "request " + " ".join(words)
