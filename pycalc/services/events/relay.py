"""The relay, which publishes the outbox's events to the stream at least once, in the order of their commits (ADR 5).

It deletes rows only after publishing their events: after a crash in between, these are published again, with the same
ids. Of several relays on one database, only the holder of the lease publishes, so that each user's events stay in
order. An event that the stream refuses is retried, without delaying later events, and becomes a dead letter in the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from time import monotonic
from uuid import uuid4

from structlog import get_logger

from pycalc.backoff import backoff_after, wait_until_set
from pycalc.db.base import OutboxRow, OutboxStore
from pycalc.errors import StreamUnavailable
from pycalc.observability.metrics import EventMetrics
from pycalc.observability.tracing import NO_TRACER, Tracer
from pycalc.services.events import retry_schedule
from pycalc.services.events.outbox import OutboxGauges, OutboxPublisher
from pycalc.services.events.retry_schedule import RetrySchedule
from pycalc.streaming.base import PUBLISH_SECONDS, Publisher

_BATCH = 500
# With a new lease, begin small: the previous holder may have failed on an event that makes large batches time out.
_FIRST_BATCH = _BATCH // 16
_SHRINK, _GROW = 4, 2  # after a failure of the stream the next batch is a quarter as large; a success doubles it
_GATHER_SECONDS = 0.02  # pause between two batches, because a few large batches cost less than many small ones
_LONGEST_BACKOFF = 30.0
_LEASE_SECONDS = 10.0  # the lease expires after this time unless its holder renews it
_RENEW_BELOW_SECONDS = 6.0  # more than PUBLISH_SECONDS, so that a batch that begins now ends within the lease
_POLL_SECONDS = 0.1
_STANDBY_SECONDS = 0.5
_OUTBOX_DRAIN_SECONDS = 1.5
_RELEASE_SECONDS = 0.3

_log = get_logger(__name__)


@dataclass(eq=False)
class Relay:
    """A task that publishes the outbox's events. If other processes add events (``shared``), it reads at intervals."""

    outbox: OutboxStore
    stream: Publisher
    metrics: EventMetrics
    _: KW_ONLY
    shared: bool = False
    try_seconds: float = retry_schedule.SECONDS  # a refused event is retried at least this long
    tracer: Tracer = NO_TRACER
    backoff: Callable[[Exception, int, float], float] = backoff_after  # returns the seconds to wait after an error
    clock: Callable[[], float] = monotonic

    def __post_init__(self) -> None:
        self._owner = uuid4().bytes
        self._held_until = 0.0  # when this relay's lease expires, by its own clock
        self._gauges = OutboxGauges(self.outbox, self.metrics, self.clock)
        self._schedule = RetrySchedule(self.try_seconds, self.clock)
        self._publisher = OutboxPublisher(self.outbox, self.stream, self.metrics, self._schedule, self.tracer)
        self._work = asyncio.Event()
        self._work.set()  # an earlier process may have left events in the outbox
        self._closing = asyncio.Event()
        self._failures = 0
        self._batch = _BATCH
        self._retry_batch = _BATCH
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="relay")
        # An outbox that is not shared has no other relay, so an idle relay lets its lease expire. A scrape in another
        # thread may call the function at once, so this comes last.
        self.metrics.relay_leading.set_function(lambda: self._holds_lease or not (self.shared or self._runner.done()))

    @property
    def _holds_lease(self) -> bool:
        return self._held_until > self.clock()

    def wake(self) -> None:
        """Tell the relay that the outbox has new rows. A relay on standby leaves them to the holder of the lease."""
        if self._holds_lease or not self.shared:
            self._work.set()

    async def ping(self) -> None:
        """Raise StreamUnavailable if the relay has ended or the stream refuses some events."""
        if self._runner.done():
            raise StreamUnavailable("Events are not being relayed.")
        if self._schedule:
            raise StreamUnavailable("The stream refuses some events.")

    async def aclose(self) -> None:
        """Publish for at most 1.5 s more, then stop and release the lease. The remaining rows stay in the outbox."""
        self._closing.set()
        self._work.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._runner, _OUTBOX_DRAIN_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._release_lease(), _RELEASE_SECONDS)

    async def _release_lease(self) -> None:
        """Release the lease to other relays. Ignore a failure, because the lease expires by itself."""
        self._held_until = 0.0
        with suppress(Exception):
            await self.outbox.release(self._owner)

    async def _run(self) -> None:
        while not self._closing.is_set():
            poll = (_POLL_SECONDS if self._holds_lease else _STANDBY_SECONDS) if self.shared else None
            await wait_until_set(self._work, _STANDBY_SECONDS if self._schedule else poll)
            self._work.clear()
            try:
                if await self._publish_batch():
                    self._work.set()
                self._failures = 0
            except Exception as error:  # the events are safe in the outbox, so every error is retried
                await self._back_off(error)
            await wait_until_set(self._closing, _GATHER_SECONDS)
        with suppress(Exception):
            while await self._publish_batch():
                pass

    async def _lead(self, seconds: float = _RENEW_BELOW_SECONDS) -> bool:
        """Acquire the lease, or renew it if it expires within ``seconds``. Return whether this relay holds it."""
        began = self.clock()  # read before the call, so that the lease ends here before it ends in the database
        if self._held_until - began < seconds:
            renewal = began < self._held_until
            acquired = await self.outbox.hold(self._owner, round(_LEASE_SECONDS * 1000))
            self._held_until = began + _LEASE_SECONDS if acquired else 0.0
            if not renewal:
                self._batch = min(self._batch, _FIRST_BATCH)
            if not acquired:  # another relay publishes now
                await self._gauges.show([], more=False)
                self._schedule.forget_settled([], more=False)
        return self._holds_lease

    async def _publish_batch(self) -> bool:
        """Publish the oldest events and due retries, if this relay holds the lease. Return whether to go on at once."""
        if not await self._lead():
            return False
        limit = self._batch + len(self._schedule)
        entries = await self.outbox.pending(limit)
        more = len(entries) == limit
        self._schedule.forget_settled(entries, more=more)
        fresh, due = self._schedule.split(entries)
        removed = await self._publish(fresh)
        if fresh:
            self._batch = min(_BATCH, _GROW * self._batch)
        due = due[: self._retry_batch]
        try:
            removed += await self._publish(due)
            if due:
                self._retry_batch = min(_BATCH, _GROW * self._retry_batch)
        except StreamUnavailable as error:  # postpones only the retries
            self.metrics.relay_failures.inc()
            _log.warning("refused events can't be retried now", error=str(error), count=len(due))
            self._schedule.put_off()
            self._retry_batch = max(1, len(due) // _SHRINK)
        if self._holds_lease:
            left = entries[: len(entries) - removed]
            if more and not left:
                left = entries[-1:]  # nearly as old as the oldest row after it
            await self._gauges.show(left, more=more)
        return more and removed > 0

    async def _publish(self, entries: Sequence[OutboxRow]) -> int:
        """Publish the events of rows if this relay holds the lease. Return how many rows left the outbox."""
        if not entries or not await self._lead(PUBLISH_SECONDS):
            return 0
        return await self._publisher.publish(entries)

    async def _back_off(self, error: Exception) -> None:
        """Update the gauges, and wait before the next try, with exponential backoff and full jitter."""
        self._failures += 1
        self.metrics.relay_failures.inc()
        delay = self.backoff(error, self._failures, _LONGEST_BACKOFF)
        _log.warning("events were not published", error=str(error), failures=self._failures, retry_in=round(delay, 3))
        if isinstance(error, StreamUnavailable):
            self._batch = max(1, self._batch // _SHRINK)
            await self._release_lease()  # another relay may reach its broker, or have working credentials
        with suppress(Exception):  # a failure makes only the gauges stale
            oldest = await self.outbox.pending(1)
            await self._gauges.show(oldest, more=bool(oldest))
        await wait_until_set(self._closing, delay)
        self._work.set()
