"""Bounded group commit: a calculation is answered after the transaction that holds it is durable (ADR 5).

Rows that arrive while a commit runs make up the next one; there is no timer in the way of a row. The queue is
bounded by rows, bytes and age, and nobody waits for longer than that age, whatever the database does. A caller that
goes away does not take its row with it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic, perf_counter, time_ns
from typing import NamedTuple

from structlog import get_logger

from pycalc.db.base import ROWS_PER_STATEMENT, HistoryStore
from pycalc.errors import OutcomeUnknown, Overloaded, PycalcError, StoreUnavailable
from pycalc.models.history import HistoryRow
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import NO_TRACER, Tracer

_ROW_BYTES = 600
"""What a queued row costs beside its texts."""

_log = get_logger(__name__)


class _Entry(NamedTuple):
    rows: Sequence[HistoryRow]
    size: int
    arrived: float
    done: asyncio.Future[None]


class Recorder:
    """Gathers rows and commits them in batches, in the order of their arrival."""

    def __init__(
        self,
        history: HistoryStore,
        metrics: Metrics,
        committed: Callable[[], None],
        *,
        max_rows: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
        max_age: float = 1.25,
        batch_rows: int = ROWS_PER_STATEMENT,
        probe_seconds: float = 1.0,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._history = history
        self._tracer = tracer
        self._metrics = metrics
        self._committed = committed
        self._max_rows, self._max_bytes, self._max_age = max_rows, max_bytes, max_age
        self._batch_rows = batch_rows
        self._queue: deque[_Entry] = deque()
        self._rows = 0
        self._bytes = 0
        self._arrival = asyncio.Event()
        self._closing = False
        self._committing: list[_Entry] = []
        self._commit_began = math.inf
        self._failing = False
        self._probe_seconds = probe_seconds
        self._prober: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._runner = self._loop.create_task(self._run(), name="recorder")
        metrics.recorder_rows.set_function(lambda: self._rows)
        metrics.recorder_bytes.set_function(lambda: self._bytes)

    def record(self, rows: Sequence[HistoryRow]) -> asyncio.Future[None]:
        """Queue rows that belong into one transaction; the returned future is done when they are durable.

        It raises StoreUnavailable when they could not be committed, and then they are not in the history; what waits
        longer than ``max_age`` is withdrawn so. What is being committed for as long gets OutcomeUnknown: it may be in
        the history or not. Raises at once Overloaded over the bounds, StoreUnavailable behind a commit that hangs.
        """
        size = sum([_ROW_BYTES + len(row.input) + len(row.result or "") for row in rows])
        if self._rows + len(rows) > self._max_rows or self._bytes + size > self._max_bytes:
            self._metrics.recorder_refused.labels("full").inc(len(rows))
            raise Overloaded("Too many calculations are waiting to be recorded.")
        if self._closing or self._runner.done():
            raise StoreUnavailable("The service is shutting down.")
        now = monotonic()
        if now - self._commit_began > self._max_age:
            self._metrics.recorder_refused.labels("aged").inc(len(rows))
            raise StoreUnavailable("The database does not answer in time.")
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(_Entry(rows, size, now, done))
        self._rows += len(rows)
        self._bytes += size
        self._arrival.set()
        return done

    async def ping(self) -> None:
        """Return when commits go on; raises StoreUnavailable when one hangs, or none has succeeded since one failed."""
        hangs = monotonic() - self._commit_began > self._max_age
        if self._runner.done() or hangs or self._failing:
            raise StoreUnavailable("Calculations are not being recorded.")

    async def prove(self) -> None:
        """Find out whether the history can be written, for the ping; return when that is known."""
        try:
            await self._history.probe()
        except Exception as error:
            _log.warning("the history can't be written", error=str(error))
            self._fail()

    async def aclose(self) -> None:
        """Commit what is queued, then stop; what comes later is refused."""
        self._closing = True
        self._arrival.set()
        await self._runner
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.wait({self._prober})

    async def _run(self) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                self._arrival.clear()
                await self._arrival.wait()
                continue
            self._committing = self._take()
            commit = asyncio.ensure_future(self._commit(self._committing))
            self._commit_began = monotonic()
            while not commit.done():
                await asyncio.wait({commit}, timeout=self._max_age / 16)
                self._answer_aged()
            self._committing, self._commit_began = [], math.inf
            commit.result()

    def _fail(self) -> None:
        """Let the ping fail until a commit or a probe succeeds: a service that is not ready may get no requests."""
        self._failing = True
        if self._prober is None or self._prober.done():
            self._prober = self._loop.create_task(self._probe_until_proven(), name="recorder probe")

    async def _probe_until_proven(self) -> None:
        while self._failing:
            await asyncio.sleep(self._probe_seconds)
            if self._committing:
                continue  # which tells as much
            with suppress(Exception):  # whatever it is, the next try may do better
                await self._history.probe()
                self._failing = False
                _log.info("the history can be written again")

    def _take(self) -> list[_Entry]:
        """Take the next batch out of the queue."""
        batch: list[_Entry] = []
        rows = 0
        while self._queue and (not batch or rows + len(self._queue[0].rows) <= self._batch_rows):
            entry = self._leave()
            batch.append(entry)
            rows += len(entry.rows)
        return batch

    def _leave(self) -> _Entry:
        entry = self._queue.popleft()
        self._rows -= len(entry.rows)
        self._bytes -= entry.size
        return entry

    def _answer_aged(self) -> None:
        """Answer those who have waited too long: what is queued is withdrawn, what is being committed is not known."""
        oldest = monotonic() - self._max_age
        aged = []
        while self._queue and self._queue[0].arrived < oldest:
            aged.append(self._leave())
        if aged:
            self._refuse(aged, StoreUnavailable("The database does not answer in time."), "aged")
        if self._committing[0].arrived < oldest:
            slow = [entry for entry in self._committing if entry.arrived < oldest]
            self._refuse(slow, OutcomeUnknown("The database hangs: not known whether this is recorded."), "unknown")

    async def _commit(self, batch: list[_Entry]) -> None:
        """Commit a batch and tell its callers; what can't be stored fails alone."""
        started, began_ns = perf_counter(), time_ns()
        rows = [row for entry in batch for row in entry.rows]
        try:
            await self._history.append(rows)
        except StoreUnavailable as error:
            _log.warning("commit failed", rows=len(rows), error=str(error))
            self._fail()
            self._refuse(batch, error, "failed")
            return
        except Exception as error:
            await self._isolate(batch, error)
            return
        self._failing = False
        self._metrics.commit_rows.observe(len(rows))
        self._metrics.commit_seconds.observe(perf_counter() - started)
        if self._tracer.on:
            self._trace(batch, began_ns, len(rows))
        for entry in batch:
            if not entry.done.done():  # else its caller has gone, or was told that this is not known
                entry.done.set_result(None)
        self._committed()

    def _trace(self, batch: list[_Entry], began_ns: int, rows: int) -> None:
        """Note the commit in each of the traces that it was for."""
        ended_ns = time_ns()
        for traceparent in filter(None, (entry.rows[0].traceparent for entry in batch)):
            self._tracer.record("commit", began_ns, ended_ns, traceparent, **{"pycalc.commit.rows": rows})

    async def _isolate(self, batch: list[_Entry], error: Exception) -> None:
        """Commit one by one what failed together; what fails alone is refused."""
        if len(batch) > 1:
            for entry in batch:
                await self._commit([entry])
            return
        _log.error("commit failed", exc_info=error)
        unknown = StoreUnavailable("The calculation could not be recorded.")
        self._refuse(batch, error if isinstance(error, PycalcError) else unknown, "failed")

    def _refuse(self, entries: list[_Entry], error: PycalcError, reason: str) -> None:
        """Answer those that still wait with an error."""
        waiting = [entry for entry in entries if not entry.done.done()]
        for entry in waiting:
            entry.done.set_exception(error)
        if waiting:
            self._metrics.recorder_refused.labels(reason).inc(sum(len(entry.rows) for entry in waiting))
