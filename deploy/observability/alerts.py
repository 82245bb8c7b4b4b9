"""Alerting rules for Prometheus; docs/operations.md says for each alert what to do."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

from deploy.observability.names import resolved

RUNBOOK = "docs/operations.md"


class Alert(NamedTuple):
    """An alerting rule. The severity ``page`` wakes someone, and ``ticket`` can wait until the morning."""

    name: str
    severity: Literal["page", "ticket"]
    expression: str
    # How long the expression must hold before the alert fires, such as "5m"; empty: the alert fires at once.
    lasting: str
    summary: str

    @property
    def runbook(self) -> str:
        """Return the link to the section of the operations guide that says what to do."""
        return f"{RUNBOOK}#{self.name.lower()}"


ALERTS = (
    Alert("PycalcDown", "page", 'up{job="pycalc"} == 0', "1m", "{{ $labels.instance }} does not answer Prometheus"),
    Alert(
        "PycalcErrors",
        "page",
        'sum(rate(<requests>{status=~"5.."}[5m])) / sum(rate(<requests>[5m])) > 0.01',
        "5m",
        "{{ $value | humanizePercentage }} of the requests fail",
    ),
    Alert(
        "PycalcSlow",
        "ticket",
        'histogram_quantile(0.99, sum by (le) (rate(<request_seconds>_bucket{route!="/events"}[5m]))) > 1',
        "10m",
        "The slowest hundredth of the requests takes {{ $value | humanizeDuration }} or more",
    ),
    Alert(
        "PycalcWrongResult",
        "page",
        "increase(<verification_failures>[1h]) > 0",
        "",
        "{{ $labels.instance }}: a result did not agree with its residue, and was not sent",
    ),
    Alert(
        "PycalcRefusing",
        "ticket",
        "sum by (instance, reason) (rate(<requests_refused>[5m])) > 0",
        "5m",
        "{{ $labels.instance }} refuses requests ({{ $labels.reason }})",
    ),
    Alert(
        "PycalcComputeRefusing",
        "ticket",
        "sum by (instance, reason) (rate(<compute_refused>[5m])) > 0",
        "5m",
        "{{ $labels.instance }} refuses computations: all workers are busy ({{ $labels.reason }})",
    ),
    Alert(
        "PycalcWorkersLost",
        "ticket",
        "increase(<workers_lost>[15m]) > 3",
        "",
        "{{ $labels.instance }}: worker processes die, {{ $value | humanize }} in 15 min; perhaps for want of memory",
    ),
    Alert(
        "PycalcServersLost",
        "page",
        "increase(<server_processes_lost>[15m]) > 3",
        "",
        "{{ $labels.instance }}: server processes die, {{ $value | humanize }} in 15 min, and are replaced",
    ),
    Alert(
        "PycalcRecorderRefusing",
        "page",
        "sum by (instance, reason) (rate(<recorder_refused>[5m])) > 0",
        "1m",
        "{{ $labels.instance }} can't record calculations ({{ $labels.reason }}) and refuses them",
    ),
    Alert(
        "PycalcDiskLow",
        "page",
        "<disk_free> < 2 * <disk_reserve>",
        "1m",
        "{{ $labels.instance }} has {{ $value | humanize1024 }}B of disk left, and will soon refuse calculations",
    ),
    Alert(
        "PycalcCommitsSlow",
        "ticket",
        "histogram_quantile(0.99, sum by (instance, le) (rate(<commit_seconds>_bucket[5m]))) > 0.25",
        "10m",
        "{{ $labels.instance }}: the slowest hundredth of the commits takes {{ $value | humanizeDuration }}",
    ),
    Alert(
        "PycalcEventsWaiting",
        "ticket",
        "max(<outbox_backlog>) > 10000",
        "5m",
        "{{ $value | humanize }} recorded events wait to be published",
    ),
    Alert(
        "PycalcEventsLate",
        "ticket",
        "max(<outbox_oldest_seconds>) > 300",
        "5m",
        "The oldest event has waited for {{ $value | humanizeDuration }} to be published",
    ),
    Alert("PycalcNoRelay", "page", "max(<relay_leading>) == 0", "2m", "No relay publishes events"),
    Alert(
        "PycalcRelayFailing",
        "ticket",
        "rate(<relay_failures>[5m]) > 0",
        "10m",
        "{{ $labels.instance }}: the stream takes no events",
    ),
    Alert(
        "PycalcDeadLetters",
        "ticket",
        "sum by (stage) (increase(<dead_letters>[1h])) > 0",
        "",
        "{{ $value | humanize }} events or messages were dead-lettered by the {{ $labels.stage }}",
    ),
    Alert(
        "PycalcMessagesDropped",
        "ticket",
        "sum(increase(<messages_dropped>[1h])) > 0",
        "",
        "{{ $value | humanize }} messages were dropped, because there are 100,000 dead letters",
    ),
    Alert(
        "PycalcConsumerFailing",
        "ticket",
        "rate(<consumer_failures>[5m]) > 0",
        "10m",
        "{{ $labels.instance }}: events are not counted; the usage totals fall behind",
    ),
    Alert(
        "PycalcRevocationsUnread",
        "page",
        # The window holds four of Cloud Run's samples, so that one may be missing.
        "increase(<revocation_failures>[2m]) > 6",
        "2m",
        "{{ $labels.instance }} can't read who was logged out, and refuses everybody after 5 s",
    ),
    Alert(
        "PycalcKeyFileUnreadable",
        "page",
        "<keys_unreadable> > 0",
        "1m",
        "{{ $labels.instance }} can't read the file of the signing keys, and goes on with those it has",
    ),
    Alert(
        "PycalcCacheFailing",
        "ticket",
        "rate(<cache_errors>[5m]) > 0 or <cache_circuit> > 0",
        "10m",
        "{{ $labels.instance }}: the cache does not answer; results are computed anew",
    ),
    Alert(
        "PycalcLimitsApart",
        "ticket",
        "rate(<limit_fallbacks>[5m]) > 0",
        "10m",
        "{{ $labels.instance }} counts {{ $labels.limit }} for itself; clients can exceed the limit",
    ),
    Alert(
        "PycalcClockWrong",
        "ticket",
        "<ids_ahead> > 0",
        "1m",
        "{{ $labels.instance }}: calculations are dated {{ $value | humanizeDuration }} ahead of its clock",
    ),
    Alert(
        "PycalcLoginsRefused",
        "ticket",
        "rate(<hashes_refused>[5m]) > 0",
        "5m",
        "{{ $labels.instance }} refuses logins and registrations: too many passwords wait to be hashed",
    ),
    Alert(
        "PycalcDescriptors",
        "ticket",
        'process_open_fds{job="pycalc"} / process_max_fds{job="pycalc"} > 0.8',
        "5m",
        "{{ $labels.instance }} has {{ $value | humanizePercentage }} of its file descriptors open",
    ),
)


def _rule(alert: Alert) -> str:
    lines = [f"      - alert: {alert.name}", f"        expr: {json.dumps(resolved(alert.expression))}"]
    if alert.lasting:
        lines.append(f"        for: {alert.lasting}")
    lines += [
        f"        labels: {{severity: {alert.severity}}}",
        "        annotations:",
        f"          summary: {json.dumps(alert.summary)}",
        f"          runbook_url: {json.dumps(alert.runbook)}",
    ]
    return "\n".join(lines)


def rules() -> str:
    """Return the rules in the format of Prometheus."""
    head = "# Made by `make dashboards` from deploy/observability/alerts.py and the names of the code's metrics.\n"
    return f"{head}groups:\n  - name: pycalc\n    rules:\n" + "\n".join(map(_rule, ALERTS)) + "\n"
