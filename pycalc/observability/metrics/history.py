"""The metrics of the database and the history."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram

from pycalc.observability.metrics.constructors import constructors

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class HistoryMetrics:
    """Metrics of the database, the recorder, exports and retention."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, seconds = constructors(registry)
        self.commit_rows = Histogram("pycalc_commit_rows", "Calculations in a commit", registry=registry, buckets=_ROWS)
        self.commit_seconds = seconds("pycalc_commit_duration_seconds", "Seconds for one commit of the recorder")
        self.database_work = gauge("pycalc_database_work", "Database operations running or waiting", ("queue",))
        self.recorder_rows = gauge("pycalc_recorder_queue_rows", "Calculations waiting for a commit")
        self.recorder_bytes = gauge("pycalc_recorder_queue_bytes", "Bytes of the calculations waiting for a commit")
        self.recorder_refused = counter(
            "pycalc_recorder_refused",
            "Calculations not recorded: full (queue), aged, disk, file (moved), failed (commit), unknown (outcome)",
            ("reason",),
        )
        self.disk_free = gauge("pycalc_disk_free_bytes", "Bytes free on the disk of the SQLite file")
        self.disk_reserve = gauge("pycalc_disk_reserve_bytes", "With fewer bytes free, calculations are refused")
        self.exports = gauge("pycalc_history_exports", "Exports of the history in progress")
        self.exports_refused = counter("pycalc_history_exports_refused", "Exports beyond the limit")
        self.exports_cut = counter("pycalc_history_exports_cut", "Exports that an error cut off", ("reason",))
        self.history_pruned = counter("pycalc_history_pruned", "Calculations deleted: age, quota or deleted account")
