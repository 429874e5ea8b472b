# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes Grafana's dashboards of the role monitoring."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "roles/monitoring/files/dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDE, HIGH = 8, 7  # of a panel: three in a row of 24
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """Lines over time, or one number.

    :param words: what it shows, and when to worry.
    :param unit: as Grafana calls it.
    :param targets: legend -> expression. HERE stands for the labels that are chosen above.
    """

    title: str
    words: str
    unit: str
    targets: dict[str, str]
    kind: str = "timeseries"


def quantile(of: float, metric: str, by: str = "") -> str:
    names = f"le, {by}" if by else "le"
    return f"histogram_quantile({of}, sum by ({names}) (rate({metric}_bucket{{HERE}}{RATE})))"


def total(metric: str, by: str, labels: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{HERE{labels}}}{RATE}))"


def speed(seconds: str, tokens: str = "") -> str:
    """Tokens in each of the seconds that llama-server spent on them."""
    return f"rate(llamacpp_{tokens or seconds}_total{{HERE}}{RATE}) / rate(llamacpp_{seconds}_seconds_total{{HERE}}{RATE})"


def per_answer(kind: str) -> str:
    """Tokens of the usual answer, or of its prompt."""
    answered = f'sum(rate(copilot_server_requests_total{{HERE,outcome="answered"}}{RATE}))'
    return f'sum(rate(copilot_server_tokens_total{{HERE,kind="{kind}"}}{RATE})) / {answered}'


CACHED = (
    f'sum(rate(copilot_server_tokens_total{{HERE,kind="cached"}}{RATE})) / '
    f'sum(rate(copilot_server_tokens_total{{HERE,kind=~"cached|computed"}}{RATE}))'
)
FIRST = "copilot_server_first_token_seconds"
REFUSED = 'haproxy_backend_http_responses_total{HERE,proxy=~"unauthorized|too_large|limited_.+",code="4xx"}'
LIMITED = 'haproxy_backend_http_responses_total{HERE,proxy=~"limited_.+",code="4xx"}'
UNAUTHORIZED = 'haproxy_backend_http_responses_total{HERE,proxy="unauthorized",code="4xx"}'
CERTIFICATE = '{__name__=~"copilot_(server|balancer)_certificate_end_timestamp_seconds",HERE}'
FIRST_TOKENS = Panel(
    "Time to the first token",
    "From the arrival of a request to the first part of its stream: half of them take less than p50, one in 20 more than p95. "
    "At least half of a warm prompt was cached.",
    "s",
    {"p50 {{prompt}}": quantile(0.5, FIRST, "prompt"), "p95 {{prompt}}": quantile(0.95, FIRST, "prompt")},
)
WAIT = Panel(
    "Wait for a slot",
    "From the arrival of a request until it was sent to llama-server. More slots or servers make it shorter.",
    "s",
    {"p50": quantile(0.5, "copilot_server_queue_seconds"), "p95": quantile(0.95, "copilot_server_queue_seconds")},
)
CACHED_SHARE = Panel(
    "Cached share of prompts",
    "Prompt tokens that need not be processed. Below 0.3, conversations lose their cache.",
    "percentunit",
    {"cached": CACHED},
)
ANSWER_SPEED = Panel(
    "Speed of answers",
    "Tokens per second of one answer. It falls if other work uses the CPUs.",
    "short",
    {"{{model}}": speed("tokens_predicted")},
)
BOTH = [
    FIRST_TOKENS,
    WAIT,
    Panel(
        "Slots",
        "Running and queued requests, and the number of slots.",
        "short",
        {
            "run": "sum(copilot_server_requests_running{HERE})",
            "wait": "sum(copilot_server_requests_queued{HERE})",
            "slots": "sum(copilot_server_slots{HERE})",
        },
    ),
    Panel(
        "Requests at servers",
        "By outcome. Refused requests got 503 with Retry-After; invalid ones are the client's mistake.",
        "reqps",
        {"{{outcome}}": total("copilot_server_requests_total", "outcome")},
    ),
    Panel(
        "Tokens",
        "Prompt tokens, computed or cached, and generated tokens.",
        "short",
        {"{{kind}}": total("copilot_server_tokens_total", "kind")},
    ),
    CACHED_SHARE,
    Panel(
        "Refused by gateways",
        "401: wrong keys. 413: bodies that are too large. 429: rate or concurrency limits of a key or an address.",
        "reqps",
        {"{{proxy}}": f"sum by (proxy) (rate({REFUSED}{RATE}))"},
    ),
    Panel(
        "Certificate",
        "Time until the certificate that Prometheus sees expires. Below 14 days something is wrong.",
        "s",
        {"{{instance}}": f"{CERTIFICATE} - time()"},
    ),
]
FLEET = [
    Panel(
        "Ready engines",
        "Servers whose llama-server answers.",
        "short",
        {"": "sum(copilot_server_engine_ready{HERE})"},
        "stat",
    ),
    Panel(
        "Hosts without metrics",
        "Any value other than 0 needs attention.",
        "short",
        {"": 'count(up{job=~"copilot-.+"} == 0) or vector(0)'},
        "stat",
    ),
    Panel(
        "Engine",
        "Servers by version of the engine.",
        "short",
        {"{{version}}": "count by (version) (copilot_server_engine_info{HERE})"},
        "stat",
    ),
    *BOTH,
    Panel(
        "Requests at balancers",
        "By outcome for the client, after retries.",
        "reqps",
        {"{{outcome}}": total("copilot_balancer_requests_total", "outcome")},
    ),
    Panel(
        "Attempts at servers",
        "By server and outcome. Failures are retried at another server, so that clients do not notice.",
        "reqps",
        {
            "{{backend}} {{outcome}}": total("copilot_balancer_attempts_total", "backend, outcome"),
            "retries": f"sum(rate(copilot_balancer_retries_total{{HERE}}{RATE}))",
        },
    ),
    Panel(
        "Reason for the choice of server",
        "Warm: it has most of the prompt cached. Moved: another has more, but is busy. Cold: none has any. Load: other requests.",
        "reqps",
        {"{{reason}}": total("copilot_balancer_choices_total", "reason")},
    ),
    Panel(
        "Expected and actual cache hits",
        "Expected and actual cached share of prompts: warm means half or more.",
        "reqps",
        {"{{predicted}}, was {{found}}": total("copilot_balancer_predictions_total", "predicted, found")},
    ),
    Panel(
        "Backends",
        "Number of servers in each state, as seen by each balancer.",
        "short",
        {"{{instance}} {{health}}": "sum by (instance, health) (copilot_balancer_backend_health{HERE})"},
    ),
]
HOST = [
    *BOTH,
    ANSWER_SPEED,
    Panel(
        "Speed of prompts",
        "Processed prompt tokens per second.",
        "short",
        {"{{model}}": speed("prompt", "prompt_tokens")},
    ),
    Panel("Engine", "Whether llama-server is ready.", "short", {"ready": "copilot_server_engine_ready{HERE}"}),
    Panel("Models", "Models that are currently loaded.", "short", {"{{model}}": "copilot_server_model_loaded{HERE}"}),
    Panel(
        "Memory of the engine",
        "Private memory, mapped files such as weights, and the limit at which it is killed.",
        "bytes",
        {"{{kind}}": "copilot_server_engine_memory_bytes{HERE}", "limit": "copilot_server_engine_memory_limit_bytes{HERE}"},
    ),
    Panel(
        "Connections",
        "Connections of clients to the gateway, and requests that are forwarded or wait.",
        "short",
        {
            "open": 'haproxy_frontend_current_sessions{HERE,proxy="api"}',
            "at the upstream": 'haproxy_backend_current_sessions{HERE,proxy="upstream"}',
        },
    ),
    Panel(
        "CPU of the host",
        "Share of all CPUs. Steal: used by other virtual machines. System and iowait should be close to 0.",
        "percentunit",
        {"{{mode}}": f'avg by (mode) (rate(node_cpu_seconds_total{{HERE,mode!="idle"}}{RATE}))'},
    ),
    Panel(
        "Memory of the host",
        "Available memory, and used swap, which should be close to 0.",
        "bytes",
        {
            "available": "node_memory_MemAvailable_bytes{HERE}",
            "total": "node_memory_MemTotal_bytes{HERE}",
            "used swap": "node_memory_SwapTotal_bytes{HERE} - node_memory_SwapFree_bytes{HERE}",
        },
    ),
    Panel(
        "Free disk",
        "Of each file system. An upgrade needs space for the new model in addition to the old one.",
        "percentunit",
        {"{{mountpoint}}": "node_filesystem_avail_bytes{HERE} / node_filesystem_size_bytes{HERE}"},
    ),
    Panel(
        "Planned memory",
        "By part, from the last run of site.yml. memory_max is the engine's limit.",
        "bytes",
        {"{{part}}": "copilot_host_memory_plan_bytes{HERE}"},
    ),
    Panel(
        "Time since the last run of site.yml",
        "Failed runs and runs in check mode do not count.",
        "s",
        {"{{instance}}": 'time() - node_textfile_mtime_seconds{HERE,file=~".*/slm-copilot[.]prom"}'},
    ),
    Panel(
        "CPU time of the router",
        "Share of one CPU, which should be close to 0.",
        "percentunit",
        {"{{job}}": f"rate(process_cpu_seconds_total{{HERE}}{RATE})"},
    ),
]
DEVELOPERS = [
    Panel(
        "Answers per minute",
        "Requests that were answered.",
        "short",
        {"": f'sum(rate(copilot_server_requests_total{{HERE,outcome="answered"}}{RATE})) * 60'},
        "stat",
    ),
    Panel(
        "Queued requests",
        "Requests without a slot. Developers take turns.",
        "short",
        {"": "sum(copilot_server_requests_queued{HERE})"},
        "stat",
    ),
    Panel(
        "Active developers",
        "Number of developers with a running or queued request. Names are not recorded.",
        "short",
        {"": "sum(copilot_server_developers{HERE})"},
        "stat",
    ),
    FIRST_TOKENS,
    WAIT,
    Panel(
        "Developers",
        "Developers with a running or queued request, and those among them with only queued ones.",
        "short",
        {
            "active": "sum(copilot_server_developers{HERE})",
            "waiting": "sum(copilot_server_developers_waiting{HERE})",
        },
    ),
    Panel(
        "Outcomes of requests",
        "Left: the developer pressed Esc, or the program timed out. Many of these mean that answers take too long.",
        "reqps",
        {"{{outcome}}": total("copilot_server_requests_total", "outcome")},
    ),
    Panel(
        "Share of abandoned requests",
        "Requests whose client disconnected before the end.",
        "percentunit",
        {
            "left": f'sum(rate(copilot_server_requests_total{{HERE,outcome="left"}}{RATE})) / '
            f"sum(rate(copilot_server_requests_total{{HERE}}{RATE}))"
        },
    ),
    Panel(
        "Length of prompts and answers",
        "Average tokens per request. Agents send longer prompts with each turn; cached tokens cost nothing.",
        "short",
        {
            "prompt, computed": per_answer("computed"),
            "prompt, cached": per_answer("cached"),
            "answer": per_answer("generated"),
        },
    ),
    ANSWER_SPEED,
    CACHED_SHARE,
    Panel(
        "Over a limit",
        "Refused with 429: rate or concurrency limit of a key or an address.",
        "reqps",
        {"{{proxy}}": f"sum by (proxy) (rate({LIMITED}{RATE}))"},
    ),
    Panel(
        "Unknown or expired keys",
        "Requests refused with 401.",
        "reqps",
        {"{{instance}}": f"sum by (instance) (rate({UNAUTHORIZED}{RATE}))"},
    ),
]
DASHBOARDS = {
    "fleet": ("Copilot: fleet", "All servers and balancers together.", FLEET),
    "host": ("Copilot: host", "One host, or several side by side.", HOST),
    "developers": (
        "Copilot: developers",
        "What developers experience, in total. Names are not recorded.",
        DEVELOPERS,
    ),
}


def variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def panel(one: Panel, number: int) -> dict[str, Any]:
    here = 'instance=~"$instance"'
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": expr.replace("HERE", here),
            "legendFormat": legend or "__auto",
        }
        for index, (legend, expr) in enumerate(one.targets.items())
    ]
    return {
        "id": number + 1,
        "type": one.kind,
        "title": one.title,
        "description": one.words,
        "datasource": SOURCE,
        "gridPos": {"h": HIGH, "w": WIDE, "x": number % 3 * WIDE, "y": number // 3 * HIGH},
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": one.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"}}
        if one.kind == "timeseries"
        else {},
    }


def dashboard(name: str) -> dict[str, Any]:
    title, words, panels = DASHBOARDS[name]
    return {
        "uid": f"slm-copilot-{name}",
        "title": title,
        "description": words,
        "tags": ["slm-copilot"],
        "editable": True,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "schemaVersion": 39,
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {"text": "", "value": ""},
                },
                variable("instance", 'label_values(up{job=~"copilot-.+"}, instance)'),
            ]
        },
        "panels": [panel(one, number) for number, one in enumerate(panels)],
    }


def main() -> None:
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(json.dumps(dashboard(name), indent=1) + "\n")


if __name__ == "__main__":
    main()
