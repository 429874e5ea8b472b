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
    "From a request's arrival to the first piece of its stream: half of them wait less than p50, one in 20 more than p95. "
    "Warm prompts were cached by half or more.",
    "s",
    {"p50 {{prompt}}": quantile(0.5, FIRST, "prompt"), "p95 {{prompt}}": quantile(0.95, FIRST, "prompt")},
)
WAIT = Panel(
    "Wait for a slot",
    "From a request's arrival until llama-server was sent it. More slots or servers make it shorter.",
    "s",
    {"p50": quantile(0.5, "copilot_server_queue_seconds"), "p95": quantile(0.95, "copilot_server_queue_seconds")},
)
CACHED_SHARE = Panel(
    "Cached share of prompts",
    "What need not be computed. Below 0.3 conversations lose their cache.",
    "percentunit",
    {"cached": CACHED},
)
ANSWER_SPEED = Panel(
    "Speed of answers",
    "Tokens in a second of one answer. It falls where others use the processors.",
    "short",
    {"{{model}}": speed("tokens_predicted")},
)
BOTH = [
    FIRST_TOKENS,
    WAIT,
    Panel(
        "Slots",
        "Requests that run and wait, and how many can run at a time.",
        "short",
        {
            "run": "sum(copilot_server_requests_running{HERE})",
            "wait": "sum(copilot_server_requests_queued{HERE})",
            "slots": "sum(copilot_server_slots{HERE})",
        },
    ),
    Panel(
        "Requests at servers",
        "By what became of them. Refused are told to come again (503); invalid is the client's mistake.",
        "reqps",
        {"{{outcome}}": total("copilot_server_requests_total", "outcome")},
    ),
    Panel(
        "Tokens",
        "Of prompts, computed or cached, and of answers.",
        "short",
        {"{{kind}}": total("copilot_server_tokens_total", "kind")},
    ),
    CACHED_SHARE,
    Panel(
        "Refused by gateways",
        "401 are wrong keys, 413 bodies that are too large, 429 limits: of a key or an address, in a time or at once.",
        "reqps",
        {"{{proxy}}": f"sum by (proxy) (rate({REFUSED}{RATE}))"},
    ),
    Panel(
        "Certificate",
        "Until the certificate ends that Prometheus was shown. Below 14 days something is wrong.",
        "s",
        {"{{instance}}": f"{CERTIFICATE} - time()"},
    ),
]
FLEET = [
    Panel(
        "Engines that are ready",
        "Of all servers, those whose llama-server answers.",
        "short",
        {"": "sum(copilot_server_engine_ready{HERE})"},
        "stat",
    ),
    Panel(
        "Hosts without metrics",
        "Anything but 0 needs a look.",
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
        "By what became of them for the client, whatever servers did.",
        "reqps",
        {"{{outcome}}": total("copilot_balancer_requests_total", "outcome")},
    ),
    Panel(
        "Attempts at servers",
        "By server and end. Failures of one are tried at another, so that no client notices.",
        "reqps",
        {
            "{{backend}} {{outcome}}": total("copilot_balancer_attempts_total", "backend, outcome"),
            "tried again": f"sum(rate(copilot_balancer_retries_total{{HERE}}{RATE}))",
        },
    ),
    Panel(
        "Why this server",
        "Warm: it holds most of the prompt. Moved: another does, and is busy. Cold: nobody does. Load: it is no conversation.",
        "reqps",
        {"{{reason}}": total("copilot_balancer_choices_total", "reason")},
    ),
    Panel(
        "Foreseen and found",
        "What of a prompt a server was believed to hold, and held: warm is half of it or more.",
        "reqps",
        {"{{predicted}}, was {{found}}": total("copilot_balancer_predictions_total", "predicted, found")},
    ),
    Panel(
        "Backends",
        "How many servers each balancer sees in a state.",
        "short",
        {"{{instance}} {{health}}": "sum by (instance, health) (copilot_balancer_backend_health{HERE})"},
    ),
]
HOST = [
    *BOTH,
    ANSWER_SPEED,
    Panel(
        "Speed of prompts",
        "Tokens in a second of a prompt that is computed.",
        "short",
        {"{{model}}": speed("prompt", "prompt_tokens")},
    ),
    Panel("Engine", "Whether llama-server is ready.", "short", {"ready": "copilot_server_engine_ready{HERE}"}),
    Panel("Models", "Which of them are loaded now.", "short", {"{{model}}": "copilot_server_model_loaded{HERE}"}),
    Panel(
        "Memory of the engine",
        "Its own, that of files such as mapped weights, and what it may take, at which it is killed.",
        "bytes",
        {"{{kind}}": "copilot_server_engine_memory_bytes{HERE}", "limit": "copilot_server_engine_memory_limit_bytes{HERE}"},
    ),
    Panel(
        "Connections",
        "Of developers at the gateway, and what is passed on or waits.",
        "short",
        {
            "open": 'haproxy_frontend_current_sessions{HERE,proxy="api"}',
            "at the upstream": 'haproxy_backend_current_sessions{HERE,proxy="upstream"}',
        },
    ),
    Panel(
        "Processors of the host",
        "Of all of them together. Steal: other machines use them. System and iowait should be next to nothing.",
        "percentunit",
        {"{{mode}}": f'avg by (mode) (rate(node_cpu_seconds_total{{HERE,mode!="idle"}}{RATE}))'},
    ),
    Panel(
        "Memory of the host",
        "What is left for programs, and what is in swap, where nothing of ours should be.",
        "bytes",
        {
            "available": "node_memory_MemAvailable_bytes{HERE}",
            "of": "node_memory_MemTotal_bytes{HERE}",
            "in swap": "node_memory_SwapTotal_bytes{HERE} - node_memory_SwapFree_bytes{HERE}",
        },
    ),
    Panel(
        "Free disk",
        "Of each file system. An upgrade needs room for the new model beside the old one.",
        "percentunit",
        {"{{mountpoint}}": "node_filesystem_avail_bytes{HERE} / node_filesystem_size_bytes{HERE}"},
    ),
    Panel(
        "Memory as planned",
        "By part, as the last run of site.yml planned it. memory_max is what the engine may take.",
        "bytes",
        {"{{part}}": "copilot_host_memory_plan_bytes{HERE}"},
    ),
    Panel(
        "Since the last run of site.yml",
        "Runs that failed do not count, and neither do those in check mode.",
        "s",
        {"{{instance}}": 'time() - node_textfile_mtime_seconds{HERE,file=~".*/slm-copilot[.]prom"}'},
    ),
    Panel(
        "Processor time of the router",
        "Of one processor: the router must have next to nothing.",
        "percentunit",
        {"{{job}}": f"rate(process_cpu_seconds_total{{HERE}}{RATE})"},
    ),
]
DEVELOPERS = [
    Panel(
        "Answered in a minute",
        "Requests that were answered.",
        "short",
        {"": f'sum(rate(copilot_server_requests_total{{HERE,outcome="answered"}}{RATE})) * 60'},
        "stat",
    ),
    Panel(
        "Waiting now",
        "Requests that have no slot yet. Each developer's next turn comes before another's second.",
        "short",
        {"": "sum(copilot_server_requests_queued{HERE})"},
        "stat",
    ),
    Panel(
        "Developers at work",
        "How many different developers have a request that runs or waits. Names are not known here.",
        "short",
        {"": "sum(copilot_server_developers{HERE})"},
        "stat",
    ),
    FIRST_TOKENS,
    WAIT,
    Panel(
        "Developers",
        "How many have a request that runs or waits, and how many of these have none that runs: they wait for their turn.",
        "short",
        {
            "at work": "sum(copilot_server_developers{HERE})",
            "all of theirs wait": "sum(copilot_server_developers_waiting{HERE})",
        },
    ),
    Panel(
        "What became of requests",
        "Left: the developer pressed Esc, or the program gave up. Many of these mean that waiting takes too long.",
        "reqps",
        {"{{outcome}}": total("copilot_server_requests_total", "outcome")},
    ),
    Panel(
        "Share that left",
        "Of all requests, those whose client did not wait for the end.",
        "percentunit",
        {
            "left": f'sum(rate(copilot_server_requests_total{{HERE,outcome="left"}}{RATE})) / '
            f"sum(rate(copilot_server_requests_total{{HERE}}{RATE}))"
        },
    ),
    Panel(
        "Length of prompts and answers",
        "Tokens of the usual request. Agents send longer prompts with each turn; those that are cached cost nothing.",
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
        "Refused with 429: too many requests of one key or address, in a time or at once.",
        "reqps",
        {"{{proxy}}": f"sum by (proxy) (rate({LIMITED}{RATE}))"},
    ),
    Panel(
        "Wrong or ended keys",
        "Refused with 401: a key that is not known, or that has ended.",
        "reqps",
        {"{{instance}}": f"sum by (instance) (rate({UNAUTHORIZED}{RATE}))"},
    ),
]
DASHBOARDS = {
    "fleet": ("Copilot: fleet", "All servers and balancers together.", FLEET),
    "host": ("Copilot: host", "One host, or several side by side.", HOST),
    "developers": (
        "Copilot: developers",
        "What developers notice, all of them together: nobody's name is known here.",
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
