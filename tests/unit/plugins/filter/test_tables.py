# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.filter import hosts, tables

FILTERS = {**tables.FilterModule().filters(), **hosts.FilterModule().filters()}
RESULT = {"url": "https://h:1", "checks": [{"title": "Health", "ok": True, "skipped": False, "detail": "d", "seconds": 1}]}


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        pytest.param("checks_table", "https://h:1  Health  ok         1.00  d", id="table"),
        pytest.param("checks_junit", '<testcase classname="https://h:1" name="Health" time="1.000">', id="junit"),
    ],
)
def test_reports(name, holds):
    assert holds in FILTERS[name]([RESULT])


def test_summary():
    assert FILTERS["checks_summary"]([RESULT])[0]["passed"] is True


@pytest.mark.parametrize("name", ["checks_table", "checks_junit", "checks_summary"])
@pytest.mark.parametrize(
    "results", [pytest.param(RESULT, id="one"), pytest.param(["text"], id="texts"), pytest.param(3, id="number")]
)
def test_other_input_is_refused(name, results):
    with pytest.raises(AnsibleFilterError, match=f"{name}: its input does not have the documented form"):
        FILTERS[name](results)


def test_startup_failure():
    assert "no argument --xyz" in FILTERS["startup_failure"]("error: invalid argument: --xyz")
    with pytest.raises(AnsibleFilterError, match="startup_failure: its input does not have the documented form"):
        FILTERS["startup_failure"](["a line"])
