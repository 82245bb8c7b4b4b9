"""The key figures of this process, read from its metrics."""

from __future__ import annotations

from pycalc.models.service import Circuit, Figures
from pycalc.observability.metrics import Metrics

_CIRCUITS: tuple[Circuit, ...] = ("closed", "half-open", "open")  # by the metric's value
_SERIES = (
    "pycalc_connections",
    "pycalc_event_subscribers",
    "pycalc_compute_running",
    "pycalc_compute_waiting",
    "pycalc_database_work",
    "pycalc_recorder_queue_rows",
    "pycalc_audit_waiting",
    "pycalc_outbox_backlog",
    "pycalc_outbox_oldest_seconds",
    "pycalc_relay_leading",
    "pycalc_cache_circuit",
    "pycalc_disk_free_bytes",
    "pycalc_disk_reserve_bytes",
)


def figures_of(metrics: Metrics, compute_workers: int) -> Figures:
    """Return the present key figures. ``compute_workers`` is the largest number of worker processes."""
    families = metrics.registry.restricted_registry(_SERIES).collect()
    samples = [sample for family in families for sample in family.samples]
    value = {sample.name: sample.value for sample in samples if not sample.labels}
    reserve = int(value["pycalc_disk_reserve_bytes"])
    return {
        "connections": int(value["pycalc_connections"]),
        "event_subscribers": int(value["pycalc_event_subscribers"]),
        "compute_workers": compute_workers,
        "computing": int(value["pycalc_compute_running"]),
        "compute_waiting": int(value["pycalc_compute_waiting"]),
        "database_queues": {sample.labels["queue"]: int(sample.value) for sample in samples if sample.labels},
        "recorder_rows": int(value["pycalc_recorder_queue_rows"]),
        "audit_waiting": int(value["pycalc_audit_waiting"]),
        "outbox_backlog": int(value["pycalc_outbox_backlog"]),
        "outbox_oldest_seconds": round(value["pycalc_outbox_oldest_seconds"], 3),
        "relay_leading": value["pycalc_relay_leading"] == 1,
        "cache_circuit": _CIRCUITS[int(value["pycalc_cache_circuit"])],
        "disk_free_bytes": int(value["pycalc_disk_free_bytes"]) if reserve else None,
        "disk_reserve_bytes": reserve,
    }
