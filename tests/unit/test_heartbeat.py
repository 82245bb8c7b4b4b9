"""The reports that a process stores about itself, from its start until it deletes them at its end."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from pycalc import __version__
from pycalc.db.base import Instance
from pycalc.errors import StoreUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.services.instances.figures import figures_of
from pycalc.services.instances.heartbeat import STALE_MS, Heartbeat
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio


class Reports:
    """A store that keeps every report."""

    def __init__(self) -> None:
        self.reports: list[tuple[Instance, int]] = []
        self.forgotten: list[bytes] = []
        self.tries = 0
        self.error: Exception | None = None

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
    """A process reports with the same id, its version and present figures until it ends; an outage is logged once."""
    store, metrics = Reports(), Metrics()
    heartbeat = Heartbeat(store, "relay", lambda: figures_of(metrics, 3), seconds=0.001)
    await until(lambda: store.tries > 0, "the first report")
    metrics.outbox_backlog.set(7)
    with capture_logs() as logs:
        store.error = StoreUnavailable("away")
        before = store.tries
        await until(lambda: store.tries > before + 2, "three failures")
        store.error = None
        reported = len(store.reports)
        await until(lambda: len(store.reports) > reported, "a report after the outage")
    assert [entry["event"] for entry in logs] == ["the state of this process was not stored"]
    await heartbeat.aclose()
    first, (last, oldest_ms) = store.reports[0][0], store.reports[-1]
    assert (first.id, first.started_ms) == (last.id, last.started_ms)
    assert (last.command, last.version, last.seen_ms - oldest_ms) == ("relay", __version__, STALE_MS)
    figures = json.loads(last.figures)
    assert (figures["outbox_backlog"], figures["compute_workers"], figures["disk_free_bytes"]) == (7, 3, None)
    assert store.forgotten == [last.id]
