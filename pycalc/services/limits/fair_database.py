"""A database whose queues are shared fairly, so that one user's requests can't keep others waiting (ADR 18)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import nullcontext
from typing import TypeVar

from prometheus_client import Counter
from sqlalchemy import Connection, Table

from pycalc.db.base import Database, Rows
from pycalc.services.limits.concurrency import QueueingLimit

T = TypeVar("T")

# The most reads and writes of one client at once: more than the threads or connections, so that it can keep them busy.
_READS, _WRITES = 32, 8
_WAITING = 1_024  # the most reads, and the most writes, of one client that run or wait


class FairDatabase:
    """A database that takes only a few reads and writes of each client at once. Further ones wait until one ends.

    ``read_reserved`` and ``insert`` are not limited.
    """

    def __init__(
        self, database: Database, client: Callable[[], Hashable | None], refused: Counter, *, wait_seconds: float = 1.0
    ) -> None:
        """Share ``database`` between clients. A call that waits longer than ``wait_seconds`` raises Overloaded.

        ``client`` must return a key of the user, or of the address, whose request is being handled. It must return None
        outside of requests, where nothing is limited.
        """
        self._database = database
        self._client = client
        detail = "Too many of your requests wait for the database; retry in 1 s."
        self._reads = QueueingLimit(_READS, _WAITING, wait_seconds, refused, detail)
        self._writes = QueueingLimit(_WRITES, _WAITING, wait_seconds, refused, detail)

    @property
    def shared(self) -> bool:
        return self._database.shared

    async def read(self, work: Callable[[Connection], T]) -> T:
        client = self._client()
        async with nullcontext() if client is None else self._reads.slot(client):
            return await self._database.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        client = self._client()
        async with nullcontext() if client is None else self._writes.slot(client):
            return await self._database.write(work)

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read_reserved(work)

    async def insert(self, table: Table, rows: Rows, also: tuple[Table, Rows] | None = None) -> None:
        await self._database.insert(table, rows, also)

    def queue_lengths(self) -> Mapping[str, int]:
        return self._database.queue_lengths()

    async def ping(self) -> None:
        await self._database.ping()

    async def aclose(self) -> None:
        await self._database.aclose()
