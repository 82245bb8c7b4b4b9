"""A fairly shared database: only some of a client's reads and writes run at once; others wait, or are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pycalc.errors import Overloaded
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.fair_database import FairDatabase

pytestmark = pytest.mark.anyio

READS, WRITES, WAITING = 32, 8, 1_024


class _StoppedDatabase:
    """A database whose work does not end before ``go`` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.running = 0

    async def read(self, work: Callable[[Any], object]) -> object:
        self.running += 1
        await self.go.wait()
        self.running -= 1
        return work(None)

    write = read


class _Clients:
    """A fair database, and the client whose request is being handled."""

    def __init__(self, wait_seconds: float = 60.0) -> None:
        self.stopped = _StoppedDatabase()
        self.metrics = Metrics()
        refused = self.metrics.requests_refused.labels("database")
        database: Any = self.stopped
        self._fair = FairDatabase(database, lambda: self._client, refused, wait_seconds=wait_seconds)
        self._client: str | None = None

    async def start(self, client: str | None, times: int, *, write: bool = False) -> list[asyncio.Task[int]]:
        """Start this many reads or writes of a client; return their tasks once each of them runs or waits."""
        self._client = client
        begin = self._fair.write if write else self._fair.read
        tasks = [asyncio.create_task(begin(lambda _connection: 1)) for _ in range(times)]
        for _ in range(3):
            await asyncio.sleep(0)
        return tasks

    @property
    def refused(self) -> float | None:
        """Return the number of refused reads and writes."""
        return self.metrics.registry.get_sample_value("pycalc_requests_refused_total", {"reason": "database"})


@pytest.mark.parametrize(("write", "share"), [(False, READS), (True, WRITES)])
async def test_a_client_uses_only_its_share_at_once(write: bool, share: int) -> None:
    """A client's reads or writes beyond its share wait; those of others, and those outside of requests, do not."""
    clients = _Clients()
    tasks = await clients.start("ada", share + 10, write=write)
    assert clients.stopped.running == share
    tasks += await clients.start("bob", 1, write=write)
    assert clients.stopped.running == share + 1
    tasks += await clients.start(None, share + 10, write=write)
    assert clients.stopped.running == 2 * share + 11
    clients.stopped.go.set()
    assert sum(await asyncio.gather(*tasks)) == 2 * share + 21
    assert clients.refused == 0


@pytest.mark.parametrize(("admitted", "wait_seconds"), [(WAITING, 60.0), (READS, 0.0)], ids=["too many", "too long"])
async def test_what_waits_for_one_client_is_bounded(admitted: int, wait_seconds: float) -> None:
    """If 1,024 reads of a client run or wait, its next read is refused and counted; so is a read that waits too long.

    The client's other reads go on.
    """
    clients = _Clients(wait_seconds)
    tasks = await clients.start("ada", admitted)
    (refused,) = await clients.start("ada", 1)
    with pytest.raises(Overloaded, match="Too many of your requests wait"):
        await refused
    assert clients.refused == 1
    clients.stopped.go.set()
    assert sum(await asyncio.gather(*tasks)) == admitted


async def test_a_cancelled_wait_leaves_no_trace() -> None:
    """If a client's running and waiting reads are cancelled, its whole share is free again."""
    clients = _Clients()
    for task in await clients.start("ada", READS + 1):
        task.cancel()
    await asyncio.sleep(0)
    clients.stopped.running = 0
    tasks = await clients.start("ada", READS + 1)
    assert clients.stopped.running == READS
    clients.stopped.go.set()
    assert sum(await asyncio.gather(*tasks)) == READS + 1
