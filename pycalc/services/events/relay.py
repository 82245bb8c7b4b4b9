"""The relay: outbox -> stream, at least once, in the order of commit (ADR 5).

It reads entries, publishes them and only then deletes them: a crash between the last two publishes them again, with
the same ids. While the stream is down the entries stay where they are. Of several relays on one database the one that
holds the lease publishes, which keeps each user's events in order; the others stand by. An event that the stream keeps
refusing goes to the dead letters, and the rest flows on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic, time, time_ns
from uuid import uuid4

from structlog import get_logger

from pycalc.backoff import backoff_after
from pycalc.db.base import DeadLetter, OutboxRow, OutboxStore
from pycalc.errors import EventsRefused, StreamUnavailable
from pycalc.models.events import event_of
from pycalc.models.ids import unix_ms_of_id
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import NO_TRACER, Tracer
from pycalc.services.events import retry_schedule
from pycalc.services.events.retry_schedule import Refusals
from pycalc.streaming.base import PUBLISH_SECONDS, Stream

_BATCH = 500
_FIRST_BATCH = _BATCH // 16
"""With a new lease: who had it before may have given it back because of an event that a large batch hides."""
_SHRINK, _GROW = 4, 2
"""A batch that the stream does not take in time is tried in quarters; what it takes lets the next ones grow again."""
_GATHER_SECONDS = 0.02
"""Pause between batches, in which events gather: a busy service pays for tens of batches a second, not thousands."""
_LONGEST_BACKOFF = 30.0
_LEASE_SECONDS = 10.0
_LEASE_LEFT_SECONDS = 6.0
"""What must be left of the lease when a batch is begun: more than the longest that publishing one may take."""
_POLL_SECONDS = 0.1
_STANDBY_SECONDS = 0.5
_COUNT_SECONDS = 1.0
"""How often an outbox of more than a batch is counted: the database walks through all of it."""
_LOOK_SECONDS = 5.0
"""How often who waits for its next try looks at the outbox: another relay may publish meanwhile."""
_DRAIN_SECONDS = 1.5
"""How long publishing may go on in the end."""
_RELEASE_SECONDS = 0.3
"""How long giving the lease back may take in the end: it runs out by itself."""

_log = get_logger(__name__)


def _letter(entry: OutboxRow, reason: str) -> DeadLetter:
    event = event_of(entry.row)
    return DeadLetter(0, "relay", event.id, "outbox", reason, event.payload, time_ns() // 1_000_000)


class Relay:
    """Publishes the outbox; ``shared`` says that others fill it too, so that it must look by itself."""

    def __init__(
        self,
        outbox: OutboxStore,
        stream: Stream,
        metrics: Metrics,
        *,
        shared: bool = False,
        try_seconds: float = retry_schedule.SECONDS,
        tracer: Tracer = NO_TRACER,
        backoff: Callable[[Exception, int, float], float] = backoff_after,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Begin to relay; ``backoff`` returns the seconds to wait after an error, as ``backoff_after`` does."""
        self._outbox = outbox
        self._tracer = tracer
        self._stream = stream
        self._metrics = metrics
        self._shared = shared
        self._backoff = backoff
        self._clock = clock
        self._refusals = Refusals(try_seconds, clock)
        self._owner = uuid4().bytes
        self._held_until = 0.0
        self._work = asyncio.Event()
        self._work.set()  # what an earlier process left
        self._closing = asyncio.Event()
        self._failures = 0
        self._batch = _BATCH
        self._retried = _BATCH
        self._oldest_ms: int | None = None
        self._backlog = 0
        self._counted_at = -_COUNT_SECONDS
        metrics.outbox_oldest_seconds.set_function(self._oldest_age)
        metrics.relay_leading.set_function(lambda: self._leading)
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="relay")

    def wake(self) -> None:
        """Say that there are new entries; a relay in waiting leaves them to the one that leads."""
        if self._leading or not self._shared:
            self._work.set()

    async def ping(self) -> None:
        """Return when events are relayed; raises StreamUnavailable when they are not any more, or some are refused."""
        if self._runner.done():
            raise StreamUnavailable("Events are not being relayed.")
        if self._refusals:
            raise StreamUnavailable("The stream refuses some events.")

    async def aclose(self) -> None:
        """Publish what is left, if the stream takes it soon, and stop: what it does not take stays in the outbox."""
        self._closing.set()
        self._work.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._runner
        with suppress(TimeoutError):
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._release()

    async def _run(self) -> None:
        while not self._closing.is_set():
            await self._wait_for_work()
            try:
                if await self._publish_batch():
                    self._work.set()
                self._failures = 0
            except Exception as error:  # whatever it is, the next try may do better, and the entries are safe
                await self._back_off(error)
            await self._pause(_GATHER_SECONDS)
        with suppress(Exception):
            while await self._publish_batch():
                pass

    async def _wait_for_work(self) -> None:
        """Return when there are new entries, or may be."""
        look = (_POLL_SECONDS if self._leading else _STANDBY_SECONDS) if self._shared else None
        if self._refusals:
            look = _STANDBY_SECONDS
        with suppress(TimeoutError):
            await asyncio.wait_for(self._work.wait(), look)
        self._work.clear()

    @property
    def _leading(self) -> bool:
        return self._clock() < self._held_until

    async def _lead(self) -> bool:
        """Make sure of the lease for the time that a batch may take; return whether this relay has it."""
        began = self._clock()
        if self._held_until - began < _LEASE_LEFT_SECONDS:
            renewed = self._leading
            held = await self._outbox.hold(self._owner, round(_LEASE_SECONDS * 1000))
            self._held_until = began + _LEASE_SECONDS if held else 0.0
            if not renewed:
                self._batch = min(self._batch, _FIRST_BATCH)
            if not held:
                self._tell([])
                self._refusals.clear()
        return self._leading

    async def _release(self) -> None:
        """Let another relay publish."""
        self._held_until = 0.0
        with suppress(Exception):  # it runs out by itself
            await self._outbox.release(self._owner)

    async def _publish_batch(self) -> bool:
        """Publish the oldest entries and delete them; return whether there may be more."""
        if not await self._lead():
            return False
        limit = self._batch + len(self._refusals)
        entries = await self._outbox.pending(0, limit)
        more = len(entries) == limit
        self._refusals.forget_settled(entries, more=more)
        self._tell(entries, await self._count(entries, more=more))
        fresh, again = self._refusals.split(entries)
        removed = await self._publish(fresh)
        if fresh:
            self._batch = min(_BATCH, _GROW * self._batch)
        removed += await self._publish_again(again[: self._retried])
        self._backlog -= removed
        if not more and self._leading:
            self._tell(entries if removed < len(entries) else (), len(entries) - removed)
        return more and removed > 0

    async def _count(self, oldest: Sequence[OutboxRow], *, more: bool) -> int:
        """Return how many events wait, with ``more`` about: what was counted not long ago, less what has gone since."""
        if not more:
            self._counted_at = -_COUNT_SECONDS
            return len(oldest)
        if self._clock() - self._counted_at >= _COUNT_SECONDS:
            self._backlog = await self._outbox.backlog()
            self._counted_at = self._clock()
        return max(self._backlog, len(oldest))

    async def _publish_again(self, entries: Sequence[OutboxRow]) -> int:
        """Publish what was refused before; a failure is no reason for the others to wait. Return as ``_publish``."""
        try:
            removed = await self._publish(entries)
        except StreamUnavailable as error:
            self._metrics.relay_failures.inc()
            _log.warning("refused events can't be tried again", error=str(error), count=len(entries))
            self._refusals.put_off()
            self._retried = max(1, len(entries) // _SHRINK)
            return 0
        if entries:
            self._retried = min(_BATCH, _GROW * self._retried)
        return removed

    def _tell(self, entries: Sequence[OutboxRow], backlog: int = 0) -> None:
        """Let the metrics say how many events wait, the oldest first; who does not lead knows of none."""
        self._metrics.outbox_backlog.set(backlog)
        self._oldest_ms = unix_ms_of_id(entries[0].row.id) if entries else None

    def _oldest_age(self) -> float:
        return 0.0 if self._oldest_ms is None else max(0.0, time() - self._oldest_ms / 1000)

    async def _publish(self, entries: Sequence[OutboxRow]) -> int:
        """Publish entries and delete what the stream took or never will; return how many those are."""
        if not entries:
            return 0
        if self._held_until - self._clock() < PUBLISH_SECONDS and not await self._lead():
            return 0
        reasons: Mapping[bytes, str] = {}
        began_ns = time_ns()
        try:
            await self._stream.publish([event_of(entry.row) for entry in entries])
        except EventsRefused as error:
            reasons = error.refused
            if not self._refusals:  # the first of them: there may be many
                told = sorted(set(reasons.values()))[:5]
                _log.warning("the stream refuses events; they are tried again", count=len(reasons), reasons=told)
        if self._tracer.on:
            self._trace(entries, began_ns)
        taken = [entry.seq for entry in entries if entry.row.id not in reasons]
        self._metrics.events_published.inc(len(taken))
        if taken:
            await self._outbox.remove(taken)
        return len(taken) + await self._put_aside(entries, self._refusals.settle(entries, reasons))

    def _trace(self, entries: Sequence[OutboxRow], began_ns: int) -> None:
        """Note the publishing in the traces of the events."""
        ended_ns = time_ns()
        for traceparent in dict.fromkeys(filter(None, (entry.row.traceparent for entry in entries))):
            self._tracer.record("publish", began_ns, ended_ns, traceparent, **{"messaging.operation.type": "send"})

    async def _put_aside(self, entries: Sequence[OutboxRow], reasons: Mapping[int, str]) -> int:
        """Move entries to the dead letters, by sequence number; return how many."""
        if reasons:
            letters = {entry.seq: _letter(entry, reasons[entry.seq]) for entry in entries if entry.seq in reasons}
            await self._outbox.dead_letter(letters)
            self._metrics.dead_letters.labels("relay").inc(len(letters))
            _log.error("events put aside", count=len(letters), reasons=sorted(set(reasons.values()))[:5])
        return len(reasons)

    async def _back_off(self, error: Exception) -> None:
        """Wait before the next try: exponentially longer, with full jitter."""
        self._failures += 1
        self._metrics.relay_failures.inc()
        delay = self._backoff(error, self._failures, _LONGEST_BACKOFF)
        _log.warning("events wait in the outbox", error=str(error), failures=self._failures, retry_in=round(delay, 3))
        if isinstance(error, StreamUnavailable):
            self._batch = max(1, self._batch // _SHRINK)
            await self._release()  # another relay's broker, or credentials, may do
        await self._look_on(delay)
        self._work.set()

    async def _look_on(self, seconds: float) -> None:
        """Let time pass, the metrics saying what waits, whoever publishes it."""
        end = self._clock() + seconds
        while not self._closing.is_set() and (left := end - self._clock()) > 0:
            with suppress(Exception):  # it is for the metrics only
                oldest = await self._outbox.pending(0, 1)
                self._tell(oldest, await self._outbox.backlog() if oldest else 0)
            await self._pause(min(left, _LOOK_SECONDS))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
