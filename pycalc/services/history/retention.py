"""Deletion of old calculations, oldest first, in small batches (ADR 16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from structlog import get_logger

from pycalc.db.base import HistoryStore
from pycalc.models.ids import first_id_of_ms, unix_ms
from pycalc.observability.metrics import HistoryMetrics

BATCH = 200  # rows in a transaction, which then delays the recorder about as long as one of its own commits
_PERIOD_SECONDS = 3_600.0
_PAUSE_SECONDS = 0.05  # between two batches the recorder has the database to itself

_log = get_logger(__name__)


async def prune(history: HistoryStore, age: timedelta) -> AsyncIterator[int]:
    """Delete calculations older than ``age``; yield the number of rows after each batch, once it is durable.

    A calculation with an unpublished event stays, and so do all later ones. Raises StoreUnavailable.
    """
    before = first_id_of_ms(unix_ms(datetime.now(UTC) - age))
    while gone := await history.prune(before, BATCH):
        yield gone


class Retention:
    """A task that prunes the history at the start of the service and then once an hour."""

    def __init__(self, history: HistoryStore, age: timedelta, metrics: HistoryMetrics) -> None:
        self._history = history
        self._age = age
        self._pruned = metrics.history_pruned
        self._closing = asyncio.Event()
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="retention")

    async def aclose(self) -> None:
        """Finish the current batch, and stop."""
        self._closing.set()
        await self._runner

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                async for gone in prune(self._history, self._age):
                    self._pruned.inc(gone)
                    await self._pause(_PAUSE_SECONDS)
                    if self._closing.is_set():
                        return
            except Exception as error:  # the next hour's try may succeed
                _log.warning("the history was not pruned", error=str(error))
            await self._pause(_PERIOD_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
