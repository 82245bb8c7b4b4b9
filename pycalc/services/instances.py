"""The running processes: each reports its state to the database, so that each can show all of them (ADR 32)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from uuid import uuid4

from structlog import get_logger

from pycalc import __version__
from pycalc.backoff import wait_until_set
from pycalc.db.base import Instance, InstanceStore
from pycalc.errors import StoreUnavailable
from pycalc.models.formats import timestamp
from pycalc.models.ids import now_ms, text_of_id
from pycalc.models.service import Circuit, Figures, InstanceItem
from pycalc.observability.metrics import Metrics

STALE_MS = 60_000  # a process without a report for this long counts as ended

_log = get_logger(__name__)

_CIRCUITS: tuple[Circuit, ...] = ("closed", "half-open", "open")  # by the metric's value
# The figures that are the present values of metrics.
_VALUES = {
    "connections": "pycalc_connections",
    "event_subscribers": "pycalc_event_subscribers",
    "computing": "pycalc_compute_running",
    "compute_waiting": "pycalc_compute_waiting",
    "recorder_rows": "pycalc_recorder_queue_rows",
    "audit_waiting": "pycalc_audit_waiting",
    "outbox_backlog": "pycalc_outbox_backlog",
    "disk_free_bytes": "pycalc_disk_free_bytes",
    "disk_reserve_bytes": "pycalc_disk_reserve_bytes",
}
_OTHERS = ("pycalc_database_work", "pycalc_outbox_oldest_seconds", "pycalc_relay_leading", "pycalc_cache_circuit")
_MAX_INSTANCES = 1_000


@dataclass(eq=False)
class Heartbeat:
    """A task that stores the state of this process at its start and then every 10 s."""

    store: InstanceStore
    command: str  # the command that this process runs: serve, relay or consume
    figures: Callable[[], Figures]
    seconds: float = field(default=10.0, kw_only=True)

    def __post_init__(self) -> None:
        self._id = uuid4().bytes
        self._started_ms = now_ms()
        self._failed = False
        self._closing = asyncio.Event()
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="heartbeat")

    async def aclose(self) -> None:
        """Stop the task and delete this process from the database, if it answers. If not, others do after STALE_MS."""
        self._closing.set()
        await self._runner
        with suppress(StoreUnavailable):
            await self.store.forget(self._id)

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                now, figures = now_ms(), json.dumps(self.figures())
                state = Instance(self._id, self.command, __version__, self._started_ms, now, figures)
                await self.store.report(state, now - STALE_MS)
                self._failed = False
            except Exception as error:  # the next report may succeed
                if not self._failed:  # one record for each outage
                    _log.warning("the state of this process was not stored", error=str(error))
                self._failed = True
            await wait_until_set(self._closing, self.seconds)


def figures_of(metrics: Metrics, compute_workers: int) -> Figures:
    """Return the present key figures. ``compute_workers`` is the largest number of worker processes."""
    families = metrics.registry.restricted_registry((*_VALUES.values(), *_OTHERS)).collect()
    samples = [sample for family in families for sample in family.samples]
    value = {sample.name: sample.value for sample in samples if not sample.labels}
    figures: dict[str, Any] = {name: int(value[series]) for name, series in _VALUES.items()}
    if not figures["disk_reserve_bytes"]:
        figures["disk_free_bytes"] = None
    figures["compute_workers"] = compute_workers
    figures["database_queues"] = {sample.labels["queue"]: int(sample.value) for sample in samples if sample.labels}
    figures["outbox_oldest_seconds"] = round(value["pycalc_outbox_oldest_seconds"], 3)
    figures["relay_leading"] = value["pycalc_relay_leading"] == 1
    figures["cache_circuit"] = _CIRCUITS[int(value["pycalc_cache_circuit"])]
    return cast("Figures", figures)


class InstanceList:
    """A reader of the list of running processes. Its callers must ensure that the user is an admin."""

    def __init__(self, store: InstanceStore) -> None:
        self._store = store

    async def items(self) -> list[InstanceItem]:
        """Return up to 1,000 running processes with their latest figures, the oldest process first."""
        return [
            {
                "id": text_of_id(each.id),
                "command": cast("Literal['serve', 'relay', 'consume']", each.command),
                "version": each.version,
                "started_at": timestamp(each.started_ms),
                "seen_at": timestamp(each.seen_ms),
                "figures": json.loads(each.figures),
            }
            for each in await self._store.all(_MAX_INSTANCES)
        ]
