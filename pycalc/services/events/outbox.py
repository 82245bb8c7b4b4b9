"""The outbox: its publisher, its gauges, and the republishing of events that were never counted (ADR 17)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from time import time, time_ns

from structlog import get_logger

from pycalc.db.base import DeadLetter, OutboxRow, OutboxStore
from pycalc.errors import EventsRefused, StoreUnavailable
from pycalc.models.events import event_of
from pycalc.models.ids import first_id_of_ms, now_ms, unix_ms_of_id
from pycalc.observability.metrics import EventMetrics
from pycalc.observability.tracing import Tracer, record_each
from pycalc.services.events.retry_schedule import RetrySchedule
from pycalc.streaming.base import Publisher

_log = get_logger(__name__)

_COUNT_SECONDS = 1.0  # the shortest time between two counts of the outbox, which read all of its rows
_PAUSE_FACTOR = 20  # and the time between them is at least this multiple of what the count took
# Beyond the 14 days for which the ids of counted events are kept, an event would count twice. A day is more than the
# clocks of two hosts may differ by.
AGE = timedelta(days=13)
_BATCH = 1_000


@dataclass(eq=False)
class OutboxPublisher:
    """A publisher of rows of the outbox. Events that the stream refuses are entered in the retry schedule."""

    outbox: OutboxStore
    stream: Publisher
    metrics: EventMetrics
    schedule: RetrySchedule
    tracer: Tracer
    # The ids of published events whose rows could not be deleted, by the rows' sequence numbers.
    _unremoved: dict[int, bytes] = field(default_factory=dict, init=False)

    async def publish(self, entries: Sequence[OutboxRow]) -> int:
        """Publish the events of rows. Return how many rows left the outbox, as published events or as dead letters.

        Raises StreamUnavailable if the stream may not have stored all events, and StoreUnavailable if the rows can't be
        deleted or kept as dead letters.
        """
        # While the outbox can't be written, repeat only the deletion, because each repetition would publish duplicates.
        unsent = entries
        if self._unremoved:
            unsent = [entry for entry in entries if self._unremoved.get(entry.seq) != entry.row.id]
        reasons: Mapping[bytes, str] = {}  # of the refused events, by event id
        given_up: dict[int, str] = {}
        if unsent:
            began_ns = time_ns()
            try:
                await self.stream.publish([event_of(entry.row) for entry in unsent])
            except EventsRefused as error:
                reasons = error.refused
                if not self.schedule:  # log once for a burst of refusals
                    examples = sorted(set(reasons.values()))[:5]
                    _log.warning("the stream refuses events; they are retried", count=len(reasons), reasons=examples)
            traceparents = (entry.row.traceparent for entry in unsent)
            record_each(self.tracer, "publish", traceparents, began_ns, {"messaging.operation.type": "send"})
            self.metrics.events_published.inc(len(unsent) - len(reasons))
            given_up = self.schedule.settle(unsent, reasons)
        published = {entry.seq: entry.row.id for entry in entries if entry.row.id not in reasons}
        self._unremoved |= published
        if published:
            await self.outbox.remove(list(published))
            # If an earlier batch was larger, rows after this batch are published too.
            last = entries[-1].seq
            self._unremoved = {seq: row_id for seq, row_id in self._unremoved.items() if seq > last}
        if given_up:
            created_ms = now_ms()
            dead_letters = {
                seq: DeadLetter(0, "relay", row.id, "outbox", given_up[seq], event_of(row).payload, created_ms)
                for seq, row in entries
                if seq in given_up
            }
            await self.outbox.dead_letter(dead_letters)
            self.schedule.forget(given_up)
            self.metrics.dead_letters.labels("relay").inc(len(dead_letters))
            _log.error("events dead-lettered", count=len(dead_letters), reasons=sorted(set(given_up.values()))[:5])
        return len(published) + len(given_up)


class OutboxGauges:
    """The gauges of the outbox, which are 0 in a relay without the lease, except while it waits after a failure.

    So several relays may count the same rows, and dashboards show the maximum of all relays.
    """

    def __init__(self, outbox: OutboxStore, metrics: EventMetrics, clock: Callable[[], float]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._gauge = metrics.outbox_backlog
        self._oldest_ms: int | None = None
        self._backlog = 0
        self._count_due = clock()
        metrics.outbox_oldest_seconds.set_function(
            lambda: 0.0 if self._oldest_ms is None else max(0.0, time() - self._oldest_ms / 1000)
        )

    async def show(self, oldest: Sequence[OutboxRow], *, more: bool) -> None:
        """Set both gauges from the oldest rows. If there may be ``more``, count all rows, but seldom: that is slow."""
        self._oldest_ms = unix_ms_of_id(oldest[0].row.id) if oldest else None
        if not more:
            self._backlog, self._count_due = 0, self._clock()
        elif (began := self._clock()) >= self._count_due:
            try:
                self._backlog = await self._outbox.backlog()
            except StoreUnavailable as error:  # a count that takes too long must not keep the relay from publishing
                _log.warning("the waiting events can't be counted", error=str(error))
            self._count_due = self._clock() + max(_COUNT_SECONDS, _PAUSE_FACTOR * (self._clock() - began))
        self._gauge.set(max(self._backlog, len(oldest)))


async def republish(outbox: OutboxStore) -> AsyncIterator[int]:
    """Put the lost events of the last 13 days back into the outbox. Yield their number after each transaction.

    An event is lost if it is neither in the outbox, nor counted, nor a dead letter. An event that was published a
    moment ago seems lost: consumers see it twice, with the same id. Raises StoreUnavailable.
    """
    last: bytes | None = first_id_of_ms(now_ms() - AGE // timedelta(milliseconds=1))
    while last is not None:
        added, last = await outbox.refill(last, _BATCH)
        yield added
