# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What units must say, whatever else they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROLES = Path(__file__).resolve().parents[3] / "roles"


UNITS = ("router/templates/slm-copilot-router.service.j2", "litellm_lb/templates/slm-copilot-proxy.service.j2")


@pytest.mark.parametrize("unit", UNITS)
def test_a_trailer_is_no_header(unit: str) -> None:
    """HAProxy passes trailers of requests on, such as one that says who asks. h11 takes none for a header."""
    commands = re.findall(r"uvicorn (?:.*\\\n)*.*", (ROLES / unit).read_text())
    assert len(commands) == 1
    assert "--http copilot_router.protocol:Protocol" in commands[0]
