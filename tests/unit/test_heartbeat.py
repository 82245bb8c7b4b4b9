"""The reports that a process stores about itself, from its start until it deletes them at its end."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from pycalc import __version__
from pycalc.db.base import Instance
from pycalc.errors import StoreUnavailable
from pycalc.models.service import Figures
from pycalc.observability.metrics import Metrics
from pycalc.services.instances import Heartbeat, figures_of
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio


class Reports:
    """A store that keeps every report."""

    def __init__(self) -> None:
        self.reports: list[tuple[Instance, int]] = []
        self.forgotten: list[bytes] = []
        self.tries = 0
        self.error: Exception | None = None

    async def calls(self, more: int) -> None:
        """Wait until ``report`` has been called this many more times."""
        wanted = self.tries + more
        await until(lambda: self.tries >= wanted, f"{more} more calls")

    async def report(self, instance: Instance, oldest_ms: int) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.reports.append((instance, oldest_ms))

    async def forget(self, instance_id: bytes) -> None:
        self.forgotten.append(instance_id)

    async def all(self, limit: int) -> list[Instance]:
        return [instance for instance, _ in self.reports][:limit]


async def test_a_process_reports_until_it_ends() -> None:
    """A process reports with the same id, its version and present figures until it ends.

    Each report also deletes those of processes that have not reported for a minute.
    """
    store, metrics = Reports(), Metrics()
    heartbeat = Heartbeat(store, "relay", lambda: figures_of(metrics, 3), seconds=0.001)
    await store.calls(1)
    metrics.outbox_backlog.set(7)
    await store.calls(1)
    await heartbeat.aclose()
    first, (last, oldest_ms) = store.reports[0][0], store.reports[-1]
    assert (first.id, first.started_ms) == (last.id, last.started_ms)
    assert (last.command, last.version, last.seen_ms - oldest_ms) == ("relay", __version__, 60_000)
    figures = json.loads(last.figures)
    assert (figures["outbox_backlog"], figures["compute_workers"], figures["disk_free_bytes"]) == (7, 3, None)
    assert store.forgotten == [last.id]


@in_virtual_time
async def test_a_process_reports_every_10_seconds() -> None:
    """A process reports at its start and then every 10 s, as the API's description says."""
    store, metrics = Reports(), Metrics()
    heartbeat = Heartbeat(store, "serve", lambda: figures_of(metrics, 1))
    times = []
    for _ in range(3):
        await store.calls(1)
        times.append(now())
    await heartbeat.aclose()
    assert [round(time - times[0], 1) for time in times] == [0, 10, 20]


async def test_each_outage_is_logged_once() -> None:
    """In each outage of the database, only the first failed report is logged, even if the process has just begun."""
    store, metrics = Reports(), Metrics()
    store.error = StoreUnavailable("away")
    heartbeat = Heartbeat(store, "serve", lambda: figures_of(metrics, 1), seconds=0.001)
    for _ in range(2):
        with capture_logs() as logs:
            store.error = StoreUnavailable("away")
            await store.calls(3)
        assert [entry["event"] for entry in logs] == ["the state of this process was not stored"]
        store.error = None
        await store.calls(1)
    await heartbeat.aclose()


async def test_figures_that_cannot_be_made_are_tried_again() -> None:
    """If the figures can't be read once, this is logged, later reports follow, and the process ends as usual."""
    store, metrics, failures = Reports(), Metrics(), [RuntimeError("a bug")]

    def figures() -> Figures:
        if failures:
            raise failures.pop()
        return figures_of(metrics, 1)

    with capture_logs() as logs:
        heartbeat = Heartbeat(store, "serve", figures, seconds=0.001)
        await store.calls(1)
        await heartbeat.aclose()
    assert [entry["error"] for entry in logs] == ["a bug"]
    assert len(store.forgotten) == 1


def test_the_figures_are_the_present_values_of_the_metrics() -> None:
    """Each figure in a report is the present value of a metric; the oldest event's age is rounded to milliseconds."""
    metrics = Metrics()
    metrics.connections.set(1)
    metrics.subscribers.set(2)
    metrics.compute_running.set(3)
    metrics.compute_waiting.set(4)
    metrics.database_work.labels("write").set(5)
    metrics.database_work.labels("read").set(6)
    metrics.recorder_rows.set(7)
    metrics.audit_waiting.set(8)
    metrics.outbox_backlog.set(9)
    metrics.outbox_oldest_seconds.set(10.12345)
    metrics.relay_leading.set(1)
    metrics.cache_circuit.set(2)
    metrics.disk_free.set(11)
    metrics.disk_reserve.set(12)
    figures = figures_of(metrics, 13)
    assert figures == {
        "connections": 1,
        "event_subscribers": 2,
        "compute_workers": 13,
        "computing": 3,
        "compute_waiting": 4,
        "database_queues": {"write": 5, "read": 6},
        "recorder_rows": 7,
        "audit_waiting": 8,
        "outbox_backlog": 9,
        "outbox_oldest_seconds": 10.123,
        "relay_leading": True,
        "cache_circuit": "open",
        "disk_free_bytes": 11,
        "disk_reserve_bytes": 12,
    }
    metrics.relay_leading.set(0)
    metrics.cache_circuit.set(0)
    figures = figures_of(metrics, 13)
    assert (figures["relay_leading"], figures["cache_circuit"]) == (False, "closed")
    metrics.cache_circuit.set(1)
    assert figures_of(metrics, 13)["cache_circuit"] == "half-open"
