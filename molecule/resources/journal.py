# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What services said while a test failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from testinfra.host import Host


@contextmanager
def shown_on_failure(request: pytest.FixtureRequest, said: Callable[[], str]) -> Iterator[None]:
    """Prints what was said, if the test of this fixture fails."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(said())


def journal_of(host: Host, *units: str, lines: int = 40) -> str:
    """Returns the last lines of the journal of units, which may be patterns."""
    return host.run(f"journalctl {' '.join(f'--unit={unit!r}' for unit in units)} --no-pager --lines={lines}").stdout
