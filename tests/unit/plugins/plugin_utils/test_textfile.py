# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run knows of a host, for Prometheus."""

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._textfile import host_metrics, seconds

NOTHING = {"info": {"mode": "balancer", "engine": ""}, "ends": {}, "plan": {}, "tuning": {}}
FIGURES = [
    {"chosen": False, "prompt_tokens_per_second": 1.0, "generated_tokens_per_second": 2.0},
    {"chosen": True, "prompt_tokens_per_second": 61.5, "generated_tokens_per_second": 7.25},
]


def test_a_host_says_what_it_is_made_of() -> None:
    assert host_metrics(NOTHING) == (
        "# HELP copilot_host_info What the host is made of, as the last run left it.\n"
        "# TYPE copilot_host_info gauge\n"
        'copilot_host_info{mode="balancer",engine=""} 1\n'
    )


def test_all_that_is_known_is_told_in_prometheus_units() -> None:
    known = {
        "info": {"mode": 'a "b" \\'},
        "ends": {"server": "2029-02-28T15:10:24Z", "fleet_ca": "20360101000000Z", "client_crl": ""},
        "plan": {"weights": 13669, "memory_max": 29952},
        "tuning": {"tiny": {"figures": FIGURES}},
    }
    samples = [line for line in host_metrics(known).splitlines() if not line.startswith("#")]
    assert samples == [
        'copilot_host_info{mode="a \\"b\\" \\\\"} 1',
        'copilot_host_end_timestamp_seconds{of="server"} 1866985824',
        'copilot_host_end_timestamp_seconds{of="fleet_ca"} 2082758400',
        'copilot_host_memory_plan_bytes{part="weights"} 14332985344',
        'copilot_host_memory_plan_bytes{part="memory_max"} 31406948352',
        'copilot_host_tuned_tokens_per_second{model="tiny",kind="prompt"} 61.5',
        'copilot_host_tuned_tokens_per_second{model="tiny",kind="generated"} 7.25',
    ]


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(CopilotError, match="'tomorrow' is no time"):
        seconds("tomorrow")
