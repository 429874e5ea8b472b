# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each alert fires when it must, and another time it does not: Debian's promtool holds them against series of minutes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from metrics_rig import prometheus
from rig import CHECKOUT

RULES = CHECKOUT / "roles/monitoring/files/slm-copilot.rules.yml"
ALERTS = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule
}
HERE, MODEL = 'instance="paris-1"', 'instance="paris-1",model="tiny"'
REFUSED = 'haproxy_backend_http_responses_total{instance="paris-1",proxy="%s",code="4xx"}'
REQUESTS = 'copilot_server_requests_total{job="copilot-server",instance="paris-1",model="tiny",outcome="%s"}'
PREDICTED = 'copilot_balancer_predictions_total{instance="paris-1",backend="a",predicted="warm",found="%s"}'
TOKENS = 'copilot_server_tokens_total{instance="paris-1",model="tiny",kind="%s"}'
OOM = 'node_vmstat_oom_kill{job="copilot-host",instance="paris-1"}'
FIRST = 'copilot_server_first_token_seconds_%s{instance="paris-1",model="tiny",prompt="cold"%s}'


def backends(**states: str) -> dict[str, str]:
    """Series of a balancer's backends, each with its health; ``open`` is ready, and taken out by its breaker."""
    series = {}
    for name, state in states.items():
        where = f'{HERE},backend="{name}"'
        health = "ready" if state == "open" else state
        series |= {
            f"copilot_balancer_backend_slots{{{where}}}": "2x240",
            f'copilot_balancer_backend_health{{{where},health="ready"}}': f"{int(health == 'ready')}x240",
            f'copilot_balancer_backend_health{{{where},health="refused"}}': f"{int(health == 'refused')}x240",
            f'copilot_balancer_backend_breaker{{{where},state="open"}}': f"{int(state == 'open')}x240",
        }
    return series


def first_tokens(slow: str) -> dict[str, str]:
    """Series of a day with first tokens within 5 s, and then of hours with so many each minute that take up to 60 s."""
    return {
        FIRST % ("bucket", ',le="5"'): "0+1x1560 1560x120",
        FIRST % ("bucket", ',le="60"'): f"0+1x1560 1560+{slow}x120",
        FIRST % ("bucket", ',le="+Inf"'): f"0+1x1560 1560+{slow}x120",
        FIRST % ("count", ""): f"0+1x1560 1560+{slow}x120",
    }


def speed(after: str) -> dict[str, str]:
    """Series of a day with 10 tokens in each second, and then of hours with so many each minute, in 60 s."""
    return {
        f"llamacpp_tokens_predicted_total{{{MODEL}}}": f"0+600x1560 936000+{after}x120",
        f"llamacpp_tokens_predicted_seconds_total{{{MODEL}}}": "0+60x1680",
    }


def prompts(each_minute: str) -> dict[str, str]:
    """Series of an hour with so many tokens of prompts each minute, in 60 s, where 20 a second were measured."""
    return {
        f"llamacpp_prompt_tokens_total{{{MODEL}}}": f"0+{each_minute}x90",
        f"llamacpp_prompt_seconds_total{{{MODEL}}}": "0+60x90",
        'copilot_host_tuned_tokens_per_second{job="copilot-host",instance="paris-1",model="tiny",kind="prompt"}': "20x90",
        'copilot_host_tuned_tokens_per_second{job="copilot-host",instance="paris-1",model="tiny",kind="generated"}': "90x90",
    }


def disks(free: str, where: str = "/") -> dict[str, str]:
    """Series of a file system with 100 bytes."""
    which = f'{{job="copilot-host",instance="paris-1",mountpoint="{where}"}}'
    values = {"avail_bytes": f"{free}x60", "size_bytes": "100x60"}
    return {f"node_filesystem_{name}{which}": value for name, value in values.items()}


# Alert -> series that make it fire, series that do not, and after how many minutes that is looked at.
CASES: dict[str, tuple[dict[str, str], dict[str, str], int]] = {
    "CopilotHostAway": (
        {'up{job="copilot-gateway",instance="paris-1"}': "1x9 0x60"},
        {'up{job="copilot-gateway",instance="paris-1"}': "1x9 0x3 1x60", 'up{job="other",instance="x"}': "0x60"},
        30,
    ),
    "CopilotNoBackend": (backends(a="down", b="open"), backends(a="down", b="ready"), 30),
    "CopilotHalfOfBackendsOut": (backends(a="ready", b="open"), backends(a="ready", b="ready", c="down"), 30),
    "CopilotBackendRefused": (backends(a="ready", b="refused"), backends(a="ready", b="down"), 30),
    "CopilotEngineAway": (
        {f"copilot_server_engine_ready{{{HERE}}}": "0x60"},
        {f"copilot_server_engine_ready{{{HERE}}}": "1x20 0x8 1x60"},
        30,
    ),
    "CopilotEngineRestarts": (
        {f"copilot_server_engine_ready{{{HERE}}}": "1x5 0x2 1x5 0x2 1x60"},
        {f"copilot_server_engine_ready{{{HERE}}}": "1x5 0x9 1x60"},
        30,
    ),
    "CopilotOutOfMemory": (
        {f"copilot_server_oom_kills_total{{{HERE}}}": "3x20 4x60", OOM: "7x20 8x60"},  # the same kill, and one alert
        {f"copilot_server_oom_kills_total{{{HERE}}}": "3x80", OOM: "7x80"},
        30,
    ),
    "CopilotMemoryNearLimit": (
        {
            f'copilot_server_engine_memory_bytes{{{HERE},kind="anon"}}': "96x60",
            f"copilot_server_engine_memory_limit_bytes{{{HERE}}}": "100x60",
        },
        {
            f'copilot_server_engine_memory_bytes{{{HERE},kind="anon"}}': "90x60",
            f'copilot_server_engine_memory_bytes{{{HERE},kind="file"}}': "99x60",
            f"copilot_server_engine_memory_limit_bytes{{{HERE}}}": "100x60",
        },
        30,
    ),
    "CopilotSwaps": (
        {'node_vmstat_pswpin{job="copilot-host",instance="paris-1"}': "0+20000x60"},
        {
            'node_vmstat_pswpin{job="copilot-host",instance="paris-1"}': "0+10000x60",
            'node_vmstat_pswpin{job="another",instance="x"}': "0+20000x60",
        },
        45,
    ),
    "CopilotDiskNearlyFull": (
        disks(free="9"),
        disks(free="11") | disks(free="9x8 50", where="/b"),
        30,
    ),
    "CopilotQueueLong": (
        {f"copilot_server_requests_queued{{{MODEL}}}": "3x60", f"copilot_server_slots{{{MODEL}}}": "2x60"},
        {f"copilot_server_requests_queued{{{MODEL}}}": "2x60", f"copilot_server_slots{{{MODEL}}}": "2x60"},
        30,
    ),
    "CopilotFirstTokenSlow": (first_tokens("1"), first_tokens("0.1"), 1640),
    "CopilotAnswersSlow": (speed("300"), speed("480"), 1640),
    "CopilotPromptsSlow": (prompts("230"), prompts("250"), 60),
    "CopilotColdPrompts": (
        {TOKENS % "cached": "0+100x200", TOKENS % "computed": "0+900x200", REQUESTS % "answered": "0+1x200"},
        {TOKENS % "cached": "0+100x200", TOKENS % "computed": "0+900x200", REQUESTS % "answered": "0+0.1x200"},
        150,
    ),
    "CopilotRequestsFail": (
        {REQUESTS % "answered": "0+9x60", REQUESTS % "failed": "0+1x60"},
        {REQUESTS % "answered": "0+100x60", REQUESTS % "failed": "0+1x60", REQUESTS % "invalid": "0+50x60"},
        40,
    ),
    "CopilotForeseenWrong": (
        {PREDICTED % "cold": "0+1x200", PREDICTED % "warm": "0+2x200"},
        {PREDICTED % "cold": "0+1x200", PREDICTED % "warm": "0+9x200"},
        150,
    ),
    "CopilotKeysRefused": ({REFUSED % "unauthorized": "0+20x60"}, {REFUSED % "unauthorized": "0+2x60"}, 30),
    "CopilotLimitsReached": ({REFUSED % "limited_address": "0+20x60"}, {REFUSED % "limited_key": "0+2x60"}, 30),
    "CopilotCertificateEnds": (  # promtool's time begins at 1970
        {f"copilot_server_certificate_end_timestamp_seconds{{{HERE}}}": "1000000x120"},
        {f"copilot_balancer_certificate_end_timestamp_seconds{{{HERE}}}": "9000000x120"},
        90,
    ),
    "CopilotTrustEnds": (
        {'copilot_host_end_timestamp_seconds{instance="a:9100",of="client_crl"}': "1000000x120"},
        {'copilot_host_end_timestamp_seconds{instance="a:9100",of="fleet_ca"}': "9000000x120"},
        90,
    ),
    "CopilotEnginesDiffer": (
        {f'copilot_server_engine_info{{instance="{host}",version="{host}"}}': "1x120" for host in ("a", "b")},
        {f'copilot_server_engine_info{{instance="{host}",version="1"}}': "1x120" for host in ("a", "b")},
        90,
    ),
    "CopilotDrainsLong": (
        {f"copilot_server_draining_seconds{{{HERE}}}": "600x120"},
        {f"copilot_server_draining_seconds{{{HERE}}}": "600x40 0x80"},
        90,
    ),
}


def test_every_alert_has_its_cases_and_tells_what_to_do() -> None:
    assert set(CASES) == set(ALERTS)
    said = (CHECKOUT / "docs/metrics.md").read_text()
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert len(rule["annotations"]["description"]) > 40
        assert f"`{name}`" in said, "which the docs list"


def case(name: str, series: dict[str, str], minutes: int, fires: bool) -> dict[str, Any]:
    """Returns promtool's test of one alert: how many fire, with all labels that its words show."""
    shown = set(re.findall(r"\$labels\.(\w+)", str(ALERTS[name]["annotations"])))
    labels = "".join(f',{label}!=""' for label in sorted(shown))
    expr = f'count(ALERTS{{alertname="{name}",alertstate="firing"{labels}}}) or vector(0)'
    return {
        "name": f"{name} {'fires' if fires else 'does not fire'}",
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": f"{minutes}m", "exp_samples": [{"labels": "{}", "value": int(fires)}]}],
    }


@pytest.mark.parametrize("fires", [True, False], ids=["fires", "does not fire"])
@pytest.mark.parametrize("days", [False, True], ids=["hours", "days"])
def test_alerts(tmp_path: Path, days: bool, fires: bool) -> None:
    """Those that look back for a day are evaluated less often, which is quicker and changes nothing."""
    tests = [
        case(name, first if fires else second, minutes, fires)
        for name, (first, second, minutes) in CASES.items()
        if (minutes > 1440) is days
    ]
    file = tmp_path / "cases.yml"
    every = "10m" if days else "1m"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": every, "tests": tests}))
    done = subprocess.run([prometheus() / "promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
