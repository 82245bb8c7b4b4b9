"""Grafana's dashboards: their panels, and the JSON that Grafana reads."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from deploy.observability.names import resolved

# A panel's width and height in units of Grafana's grid, which is 24 wide, and the number of panels in a row.
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 3
_SOURCE = {"type": "prometheus", "uid": "prometheus"}


class Panel(NamedTuple):
    """A graph. ``lines`` maps legends to PromQL, in which ``<name>`` stands for the metric ``Metrics.name``."""

    title: str
    unit: str
    lines: dict[str, str]


class Dashboard(NamedTuple):
    """A dashboard with its panels."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def _rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate(<{metric}>[$__rate_interval]))"


def _quantile(part: float, metric: str, by: str = "", matching: str = "") -> str:
    keys = ", ".join(filter(None, (by, "le")))
    return f"histogram_quantile({part}, sum by ({keys}) (rate(<{metric}>_bucket{matching}[$__rate_interval])))"


def _spread(metric: str, matching: str = "") -> dict[str, str]:
    return {f"p{part * 100:g}": _quantile(part, metric, matching=matching) for part in (0.5, 0.9, 0.99)}


_QUICK = '{route!="/events"}'

SERVICE = Dashboard(
    "pycalc-service",
    "pycalc: the service",
    (
        Panel("Requests by route", "reqps", {"{{route}}": _rate("requests", "route")}),
        Panel(
            "Failed requests",
            "percentunit",
            {"5xx": f'sum(rate(<requests>{{status=~"5.."}}[$__rate_interval])) / {_rate("requests")}'},
        ),
        Panel("Response times", "s", _spread("request_seconds", _QUICK)),
        Panel("Calculations by outcome", "ops", {"{{outcome}}": _rate("calculations", "outcome")}),
        Panel(
            "Idempotency keys",
            "ops",
            {"{{outcome}}": _rate("idempotency_keys", "outcome"), "running": "sum(<idempotent_running>)"},
        ),
        Panel("Calculations by operation", "ops", {"{{operation}}": _rate("calculations", "operation")}),
        Panel(
            "Found in the cache",
            "percentunit",
            {"hits": f'sum(rate(<calculations>{{outcome="cached"}}[$__rate_interval])) / {_rate("calculations")}'},
        ),
        Panel(
            "Refused",
            "reqps",
            {
                "overload: {{reason}}": _rate("requests_refused", "reason"),
                "rate limit: {{limit}}": _rate("rate_limited", "limit"),
                "workers: {{reason}}": _rate("compute_refused", "reason"),
                "recorder: {{reason}}": _rate("recorder_refused", "reason"),
                "passwords": _rate("hashes_refused"),
                "{{kind}} look-ups": _rate("lookups_refused", "kind"),
                "identity provider fails": _rate("provider_failures"),
                "subscribers": _rate("subscribers_refused"),
                "exports": _rate("exports_refused"),
                "cut, reading too slowly": _rate("responses_cut"),
            },
        ),
        Panel("Processor time", "percentunit", {"{{instance}}": "rate(process_cpu_seconds_total[$__rate_interval])"}),
        Panel("Resident memory", "bytes", {"{{instance}}": "process_resident_memory_bytes"}),
        Panel(
            "Server processes",
            "short",
            {"{{instance}}": "<server_processes>", "lost in 15 min": "sum(increase(<server_processes_lost>[15m]))"},
        ),
        Panel(
            "File descriptors",
            "percentunit",
            {"{{instance}}": "process_open_fds / process_max_fds"},
        ),
        Panel(
            "Results that failed verification",
            "short",
            {"in an hour": "sum(increase(<verification_failures>[1h]))"},
        ),
    ),
)

INSIDE = Dashboard(
    "pycalc-inside",
    "pycalc: inside",
    (
        Panel("Computation times", "s", {"p99 {{operation}}": _quantile(0.99, "compute_seconds", "operation")}),
        Panel("Workers", "short", {"running": "sum(<compute_running>)", "waiting": "sum(<compute_waiting>)"}),
        Panel(
            "Workers lost",
            "short",
            {
                "in 15 min": "sum(increase(<workers_lost>[15m]))",
                "at their limit of memory": "sum(increase(<workers_out_of_memory>[15m]))",
            },
        ),
        Panel("Commit times", "s", _spread("commit_seconds")),
        Panel("Calculations in a commit", "short", {"p50": _quantile(0.5, "commit_rows")}),
        Panel(
            "Waiting to be recorded",
            "short",
            {"rows": "sum(<recorder_rows>)", "KiB": "sum(<recorder_bytes>) / 1024"},
        ),
        Panel("Database operations running or waiting", "short", {"{{queue}}": "sum by (queue) (<database_work>)"}),
        Panel(
            "Cache",
            "ops",
            {
                "hits in the shared cache": _rate("cache_shared_hits"),
                "misses": _rate("cache_misses"),
                "errors": _rate("cache_errors"),
            },
        ),
        Panel(
            "Not kept in the shared cache",
            "ops",
            {"{{reason}}": _rate("cache_dropped", "reason"), "damaged": _rate("cache_damaged")},
        ),
        Panel(
            "Breaker of the shared cache",
            "short",
            {
                "{{instance}} (0 closed, 1 half-open, 2 open)": "<cache_circuit>",
                "opened in 5 min": "sum(increase(<cache_circuit_opened>[5m]))",
            },
        ),
        Panel("Expensive results", "ops", {"{{outcome}}": _rate("single_flights", "outcome")}),
        Panel(
            "Memory for results",
            "bytes",
            {"cached in process": "sum(<cache_bytes>)", "long responses": "sum(<response_bytes>)"},
        ),
        Panel(
            "Slots taken",
            "short",
            {"small calculations": "sum(<calculations_under_way>)", "in batches": "sum(<batched_calculations>)"},
        ),
        Panel(
            "Connections",
            "short",
            {
                "{{instance}}": "<connections>",
                "cut in 5 min: {{reason}}": "sum by (reason) (increase(<connections_cut>[5m]))",
            },
        ),
        Panel("Results cached in process", "short", {"results": "sum(<cache_entries>)"}),
        Panel("Password hashes waiting", "short", {"hashes": "sum(<hashes_waiting>)"}),
        Panel(
            "Entries in memory",
            "short",
            {
                "verified tokens": "sum(<tokens_cached>)",
                "unknown keys": "sum(<keys_unknown>)",
                "key uses to be stored": "sum(<key_uses_noted>)",
                "counters: {{limit}}": "sum by (limit) (<limit_keys>)",
            },
        ),
        Panel("Limits that an instance counts alone", "ops", {"{{limit}}": _rate("limit_fallbacks", "limit")}),
        Panel(
            "Problems with signing keys, logouts and the audit log",
            "short",
            {
                "revocations unread": "sum(increase(<revocation_failures>[5m]))",
                "key file unreadable": "sum(<keys_unreadable>)",
                "refusals not logged: {{caller}}": "sum by (caller) (increase(<audit_suppressed>[5m]))",
                "audit entries in the log only: {{reason}}": "sum by (reason) (increase(<audit_unstored>[5m]))",
                "audit entries waiting": "sum(<audit_waiting>)",
            },
        ),
    ),
)

EVENTS = Dashboard(
    "pycalc-events",
    "pycalc: events",
    (
        Panel("Events waiting to be published", "short", {"events": "max(<outbox_backlog>)"}),
        Panel("Oldest event waiting to be published", "s", {"age": "max(<outbox_oldest_seconds>)"}),
        Panel("Relays that publish", "short", {"relays": "sum(<relay_leading>)"}),
        Panel(
            "Events",
            "ops",
            {
                "published": _rate("events_published"),
                "counted": _rate("events_consumed"),
                "repeated": _rate("events_repeated"),
            },
        ),
        Panel("From recording to counting", "s", _spread("consumer_lag")),
        Panel(
            "Failures",
            "ops",
            {
                "relay": _rate("relay_failures"),
                "consumer": _rate("consumer_failures"),
                "stream: {{call}}": _rate("stream_failures", "call"),
                "refused events": _rate("events_refused"),
            },
        ),
        Panel(
            "Dead letters",
            "short",
            {
                "{{stage}}, in an hour": "sum by (stage) (increase(<dead_letters>[1h]))",
                "dropped in an hour": "sum(increase(<messages_dropped>[1h]))",
            },
        ),
        Panel(
            "Subscribers",
            "short",
            {"now": "sum(<subscribers>)", "dropped in 5 min": "sum(increase(<subscribers_dropped>[5m]))"},
        ),
        Panel(
            "Exports",
            "short",
            {
                "running": "sum(<exports>)",
                "cut in 5 min: {{reason}}": "sum by (reason) (increase(<exports_cut>[5m]))",
            },
        ),
        Panel("Calculations deleted by the retention", "ops", {"rows": _rate("history_pruned")}),
    ),
)

DASHBOARDS = (SERVICE, INSIDE, EVENTS)


def _panel(panel: Panel, number: int) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _SOURCE, "legendFormat": legend, "expr": resolved(line)}
            for index, (legend, line) in enumerate(panel.lines.items())
        ],
    }


def rendered(dashboard: Dashboard) -> str:
    """Return the JSON of a dashboard for Grafana."""
    described = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": "Made by `make dashboards` from deploy/observability/dashboards.py.",
        "tags": ["pycalc"],
        "editable": False,
        "schemaVersion": 41,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "panels": [_panel(panel, number) for number, panel in enumerate(dashboard.panels)],
    }
    return json.dumps(described, indent=1) + "\n"
