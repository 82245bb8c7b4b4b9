"""The metrics of the database and the history."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pycalc.observability.metrics.buckets import SECONDS_BUCKETS

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class HistoryMetrics:
    """Metrics of the database, the recorder, exports and retention."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.commit_rows = Histogram(
            "pycalc_commit_rows", "Calculations in one commit of the recorder", buckets=_ROWS, registry=registry
        )
        self.commit_seconds = Histogram(
            "pycalc_commit_duration_seconds",
            "Seconds for one commit of the recorder",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.database_work = Gauge(
            "pycalc_database_work",
            "Database operations running or waiting",
            ("queue",),
            registry=registry,
        )
        self.recorder_rows = Gauge("pycalc_recorder_queue_rows", "Calculations waiting for a commit", registry=registry)
        self.recorder_bytes = Gauge(
            "pycalc_recorder_queue_bytes", "Bytes of the calculations waiting for a commit", registry=registry
        )
        self.recorder_refused = Counter(
            "pycalc_recorder_refused", "Calculations refused by the recorder", ("reason",), registry=registry
        )
        self.exports = Gauge("pycalc_history_exports", "Exports of the history in progress", registry=registry)
        self.exports_refused = Counter(
            "pycalc_history_exports_refused", "Exports refused because too many are in progress", registry=registry
        )
        self.exports_cut = Counter(
            "pycalc_history_exports_cut", "Exports ended before they were complete", ("reason",), registry=registry
        )
        self.history_pruned = Counter(
            "pycalc_history_pruned", "Calculations deleted because of their age", registry=registry
        )
