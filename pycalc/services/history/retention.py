"""Retention: calculations over an age are deleted, a few at a time, oldest first (ADR 16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from structlog import get_logger

from pycalc.db.base import HistoryStore
from pycalc.models.ids import first_id_of_ms, unix_ms
from pycalc.observability.metrics import Metrics

BATCH = 200
"""Rows in one transaction: the recorder waits for it about as long as for a commit of its own."""
_PERIOD_SECONDS = 3_600.0
_PAUSE_SECONDS = 0.05
"""Between two batches the recorder has the database to itself."""

_log = get_logger(__name__)


async def prune(history: HistoryStore, age: timedelta) -> AsyncIterator[int]:
    """Delete what is older than that, and yield the number of rows after each batch; durable batch by batch.

    A calculation whose event has not been published stays, with all that came after it. Raises StoreUnavailable.
    """
    before = first_id_of_ms(unix_ms(datetime.now(UTC) - age))
    while gone := await history.prune(before, BATCH):
        yield gone


class Retention:
    """Prunes the history of a running service, at its start and then once an hour."""

    def __init__(self, history: HistoryStore, age: timedelta, metrics: Metrics) -> None:
        self._history = history
        self._age = age
        self._pruned = metrics.history_pruned
        self._closing = asyncio.Event()
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="retention")

    async def aclose(self) -> None:
        """Finish the batch that was begun, and stop."""
        self._closing.set()
        await self._runner

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                await self._prune()
            except Exception as error:  # whatever it is, the next hour may do better
                _log.warning("the history was not pruned", error=str(error))
            await self._pause(_PERIOD_SECONDS)

    async def _prune(self) -> None:
        async for gone in prune(self._history, self._age):
            self._pruned.inc(gone)
            await self._pause(_PAUSE_SECONDS)
            if self._closing.is_set():
                return

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
