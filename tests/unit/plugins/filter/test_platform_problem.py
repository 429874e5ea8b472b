# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter that holds a host against the support matrix."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.filter.hosts import FilterModule

platform_problem = FilterModule().filters()["platform_problem"]
FACTS = {"distribution": "Debian", "distribution_version": "12.11", "architecture": "x86_64", "service_mgr": "systemd"}


def test_a_supported_host_has_no_problem() -> None:
    assert platform_problem(FACTS) == ""


def test_another_is_told_what_is_supported() -> None:
    problem = platform_problem({**FACTS, "distribution_version": "11.11"})
    assert "Debian 11.11" in problem
    assert "Debian 12 and Debian 13" in problem


@pytest.mark.parametrize("missing", FACTS)
def test_facts_that_were_not_gathered_are_named(missing: str) -> None:
    facts = {name: value for name, value in FACTS.items() if name != missing}
    with pytest.raises(AnsibleFilterError, match="gather the subsets distribution, platform and service_mgr"):
        platform_problem(facts)
