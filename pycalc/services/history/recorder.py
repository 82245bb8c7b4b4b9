"""Group commit of the history: a calculation is answered only after its transaction is durable (ADR 5).

Rows that arrive during a commit form the next commit, up to its largest size, so no timer delays a row. A row whose
caller is cancelled stays in the queue.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from time import monotonic, perf_counter, time_ns
from typing import NamedTuple

from structlog import get_logger

from pycalc.db.base import ROWS_PER_STATEMENT, HistoryStore
from pycalc.errors import KeysTaken, OutcomeUnknown, Overloaded, PycalcError, StoreUnavailable
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow
from pycalc.observability.metrics import HistoryMetrics
from pycalc.observability.tracing import NO_TRACER, Tracer, record_each
from pycalc.services.history.file_monitor import FileMonitor

_ROW_BYTES = 600  # the memory of a queued row, without its input and result
_KEY_BYTES = 300  # the memory of a queued idempotency key, without its calculations' ids and problems

_log = get_logger(__name__)


class _Entry(NamedTuple):
    """The rows of one call of ``Recorder.record``, their idempotency key, and the future that the call returned."""

    rows: Sequence[HistoryRow]
    size: int  # in bytes
    arrived: float  # a time of ``monotonic``
    done: asyncio.Future[None]
    key: KeyRow | None = None


class _RowQueue:
    """A first-in, first-out queue of entries, with the sums of their rows and bytes."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self.rows = 0
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def put(self, entry: _Entry) -> None:
        """Append an entry."""
        self._entries.append(entry)
        self.rows += len(entry.rows)
        self.bytes += entry.size

    def take(self, max_rows: int) -> list[_Entry]:
        """Remove and return the oldest entries: up to ``max_rows`` rows in total, or a single entry with more rows.

        The second of two entries with the same idempotency key is left for the next commit, which then rejects it.
        """
        batch: list[_Entry] = []
        keys: set[bytes] = set()
        rows = 0
        while self._entries and (not batch or rows + len(self._entries[0].rows) <= max_rows):
            if (key := self._entries[0].key) is not None:
                if key.id in keys:
                    break
                keys.add(key.id)
            batch.append(self._pop())
            rows += len(batch[-1].rows)
        return batch

    def take_older(self, moment: float) -> list[_Entry]:
        """Remove and return the entries that arrived before ``moment``, a time of ``monotonic``."""
        older = []
        while self._entries and self._entries[0].arrived < moment:
            older.append(self._pop())
        return older

    def _pop(self) -> _Entry:
        entry = self._entries.popleft()
        self.rows -= len(entry.rows)
        self.bytes -= entry.size
        return entry


@dataclass(eq=False)
class Recorder:
    """A queue of history rows, which a task commits in batches in the order of their arrival."""

    history: HistoryStore
    metrics: HistoryMetrics
    committed: Callable[[Sequence[HistoryRow]], None]  # called with the rows of each commit
    _: KW_ONLY
    max_rows: int = 10_000  # in the queue
    max_bytes: int = 64 * 1024 * 1024  # in the queue
    max_age: float = 1.25  # seconds that a row waits, approximately
    batch_rows: int = ROWS_PER_STATEMENT  # of a commit; a call of ``record`` with more gets a commit of its own
    probe_seconds: float = 1.0  # after a failure, the database is probed at this interval until a write succeeds
    file: FileMonitor | None = None  # new rows are refused while the file has a problem
    tracer: Tracer = NO_TRACER

    def __post_init__(self) -> None:
        self._queue = _RowQueue()
        self._arrival = asyncio.Event()
        self._closing = False
        self._committing: list[_Entry] = []
        self._commit_began = math.inf
        self._watching = False
        self._failing = False
        self._probing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._runner = self._loop.create_task(self._run(), name="recorder")
        self.metrics.recorder_rows.set_function(lambda: self._queue.rows)
        self.metrics.recorder_bytes.set_function(lambda: self._queue.bytes)

    def record(self, rows: Sequence[HistoryRow], key: KeyRow | None = None) -> asyncio.Future[None]:
        """Queue the rows of one request for a common transaction. Return a future that is done when they are durable.

        ``key`` is the request's idempotency key, which is stored in the same transaction. The future raises KeysTaken
        if an earlier request with the same key is recorded, and RowsRejected if the database rejects the rows' values.
        It raises StoreUnavailable if the commit fails, or if the rows have waited for ``max_age``. After these errors,
        the rows are not in the history. The future raises OutcomeUnknown if it is not known whether they are, for
        example because their commit still runs at ``max_age``.

        The call itself raises Overloaded if the queue is full. It raises StoreUnavailable if the running commit is
        older than ``max_age``, ``file`` has a problem, or the service is shutting down.
        """
        self.require_room(len(rows))
        size = sum([_ROW_BYTES + len(row.input) + len(row.result or "") for row in rows])
        if key is not None:
            size += _KEY_BYTES + len(key.calculations) + len(key.problems or b"")
        if self._queue.rows + len(rows) > self.max_rows or self._queue.bytes + size > self.max_bytes:
            self.metrics.recorder_refused.labels("full").inc(len(rows))
            raise Overloaded("Too many calculations are waiting to be recorded; retry in 1 s.")
        if self._closing or self._runner.done():
            raise StoreUnavailable("The service is shutting down; retry in 1 s.")
        now = monotonic()
        if now - self._commit_began > self.max_age:
            self.metrics.recorder_refused.labels("aged").inc(len(rows))
            raise self._late()
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Entry(rows, size, now, done, key))
        self._arrival.set()
        return done

    def require_room(self, rows: int = 1) -> None:
        """If the database's file has a problem, count ``rows`` as refused and raise StoreUnavailable.

        Call this before a computation, so that no result is computed that can't be recorded.
        """
        if self.file is not None and self.file.problem is not None:
            self.metrics.recorder_refused.labels(self.file.problem).inc(rows)
            self.file.require()

    async def ping(self) -> None:
        """Raise StoreUnavailable if rows can't be recorded now, or no write has succeeded since the database failed."""
        if self.file is not None:
            self.file.require()
        hangs = monotonic() - self._commit_began > self.max_age
        if self._runner.done() or hangs or self._failing:
            raise StoreUnavailable("Calculations are not being recorded.")

    async def probe(self) -> None:
        """Check that the database can write. If not, log it, and let ``ping`` raise an error until a write succeeds."""
        try:
            await self.history.probe()
        except Exception as error:
            _log.warning("the history cannot be written", error=str(error))
            self._fail()

    async def aclose(self) -> None:
        """Refuse new rows, commit the queued rows, and stop."""
        self._closing = True
        self._arrival.set()
        await self._runner
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})

    async def _run(self) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                self._arrival.clear()
                await self._arrival.wait()
                continue
            self._committing = self._queue.take(self.batch_rows)
            self._commit_began = monotonic()
            if not self._watching:
                self._watch()
            await self._commit(self._committing)
            self._committing, self._commit_began = [], math.inf

    def _watch(self) -> None:
        """While a commit runs, refuse the rows that reach ``max_age``. Repeat this until no commit runs."""
        self._watching = bool(self._committing)
        if not self._watching:
            return
        oldest = monotonic() - self.max_age
        if aged := self._queue.take_older(oldest):
            self._refuse(aged, self._late(), "aged")
        if slow := [entry for entry in self._committing if entry.arrived < oldest]:
            unknown = OutcomeUnknown(
                "The database has not confirmed the commit: it is not known whether the calculation is recorded. "
                "Check the history before you repeat it."
            )
            self._refuse(slow, unknown, "unknown")
        self._loop.call_later(self.max_age / 16, self._watch)

    async def _commit(self, batch: list[_Entry]) -> None:
        """Commit a batch, if possible in one transaction, and complete the future of each entry."""
        started, began_ns = perf_counter(), time_ns()
        rows = [row for entry in batch for row in entry.rows]
        keys = [entry.key for entry in batch if entry.key is not None]
        try:
            await self.history.append(rows, keys)
        except Exception as error:
            await self._after_failure(batch, error)
            return
        self._failing = False
        self.metrics.commit_rows.observe(len(rows))
        self.metrics.commit_seconds.observe(perf_counter() - started)
        traceparents = (entry.rows[0].traceparent for entry in batch)
        record_each(self.tracer, "commit", traceparents, began_ns, {"pycalc.commit.rows": len(rows)})
        for entry in batch:
            if not entry.done.done():  # a future is done already if its caller was cancelled or got OutcomeUnknown
                entry.done.set_result(None)
        self.committed(rows)

    async def _after_failure(self, batch: list[_Entry], error: Exception) -> None:
        """Handle the error of a batch's commit: fail the entries at fault, or all if the database is unavailable."""
        if isinstance(error, KeysTaken):
            taken = [entry for entry in batch if entry.key is not None and entry.key.id in error.ids]
            for entry in taken:
                if not entry.done.done():
                    entry.done.set_exception(error)
            if len(taken) < len(batch):
                await self._commit([entry for entry in batch if entry.key is None or entry.key.id not in error.ids])
            return
        if isinstance(error, StoreUnavailable):
            _log.warning("commit failed", rows=sum(len(entry.rows) for entry in batch), error=str(error))
            self._fail()
        elif len(batch) > 1:
            for entry in batch:  # each on its own, so that only those at fault fail
                await self._commit([entry])
            return
        else:
            _log.error("commit failed", exc_info=error)
        unexpected = StoreUnavailable("The calculation could not be recorded; retry in 1 s.")
        reason = "unknown" if isinstance(error, OutcomeUnknown) else "failed"
        self._refuse(batch, error if isinstance(error, PycalcError) else unexpected, reason)

    def _late(self) -> StoreUnavailable:
        """Return the error for rows that are refused because the running commit takes too long."""
        return StoreUnavailable("The database does not answer in time; retry in 1 s.")

    def _fail(self) -> None:
        """Let ``ping`` raise StoreUnavailable until a probe or a commit succeeds, and start the probes."""
        self._failing = True
        if self._probing is None or self._probing.done():
            self._probing = self._loop.create_task(self._probe_again(), name="recorder probe")

    async def _probe_again(self) -> None:
        # An instance that is not ready may get no requests, and then no commit would show that writes work again.
        while self._failing:
            await asyncio.sleep(self.probe_seconds)
            with suppress(Exception):  # the next probe may succeed
                if not self._committing:  # a commit serves as the probe
                    await self.history.probe()
                    self._failing = False
                    _log.info("the history can be written again")

    def _refuse(self, entries: list[_Entry], error: PycalcError, reason: str) -> None:
        """Complete the pending futures of these entries with an error, and count these entries' rows by ``reason``."""
        waiting = [entry for entry in entries if not entry.done.done()]
        for entry in waiting:
            entry.done.set_exception(error)
        if waiting:
            self.metrics.recorder_refused.labels(reason).inc(sum(len(entry.rows) for entry in waiting))
