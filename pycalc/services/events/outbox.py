"""The outbox: its publisher, its gauges, and the republishing of events that were never counted (ADR 17)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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

# The database reads the whole outbox to count its rows. So the time from one count to the next is at least a second,
# and at least this multiple of the time that the count took.
_COUNT_SECONDS = 1.0
_PAUSE_FACTOR = 20
# The database keeps the ids of counted events for 14 days. Beyond that, an event that is published again would count
# twice. The difference is more than the clocks of two hosts may differ by.
AGE = timedelta(days=13)
_BATCH = 1_000


class OutboxPublisher:
    """A publisher of rows of the outbox. Events that the stream refuses are entered in the retry schedule."""

    def __init__(
        self, outbox: OutboxStore, stream: Publisher, metrics: EventMetrics, schedule: RetrySchedule, tracer: Tracer
    ) -> None:
        self._outbox = outbox
        self._stream = stream
        self._metrics = metrics
        self._schedule = schedule
        self._tracer = tracer
        # The ids of published events whose rows could not be deleted, by the rows' sequence numbers.
        self._unremoved: dict[int, bytes] = {}

    async def publish(self, entries: Sequence[OutboxRow]) -> int:
        """Publish the events of rows. Return how many rows left the outbox, as published events or as dead letters.

        Raises StreamUnavailable if it is not certain that the stream has stored all events. Raises StoreUnavailable if
        the rows can't be deleted or kept as dead letters.
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
                await self._stream.publish([event_of(entry.row) for entry in unsent])
            except EventsRefused as error:
                reasons = error.refused
                if not self._schedule:  # log once for a burst of refusals
                    examples = sorted(set(reasons.values()))[:5]
                    _log.warning("the stream refuses events; they are retried", count=len(reasons), reasons=examples)
            if self._tracer.on:
                record_each(self._tracer, "publish", "send", (entry.row.traceparent for entry in unsent), began_ns)
            self._metrics.events_published.inc(len(unsent) - len(reasons))
            given_up = self._schedule.settle(unsent, reasons)
        published = {entry.seq: entry.row.id for entry in entries if entry.row.id not in reasons}
        self._unremoved |= published
        if published:
            await self._outbox.remove(list(published))
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
            await self._outbox.dead_letter(dead_letters)
            self._schedule.forget(given_up)
            self._metrics.dead_letters.labels("relay").inc(len(dead_letters))
            _log.error("events dead-lettered", count=len(dead_letters), reasons=sorted(set(given_up.values()))[:5])
        return len(published) + len(given_up)


class OutboxGauges:
    """The gauges of the outbox, which are normally 0 in a relay that does not hold the lease.

    While a relay waits after a failure, its gauges show the state of the outbox even without the lease. So several
    relays may count the same rows, and dashboards show the maximum of all relays.
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

    def show(self, oldest: Sequence[OutboxRow], backlog: int = 0) -> None:
        """Show ``backlog`` waiting events, and the age of the first row of ``oldest``, or 0 if ``oldest`` is empty."""
        self._gauge.set(backlog)
        self._oldest_ms = unix_ms_of_id(oldest[0].row.id) if oldest else None

    async def show_oldest(self, oldest: Sequence[OutboxRow], *, more: bool) -> None:
        """Set both gauges from the oldest rows of the outbox.

        Set ``more`` if the outbox may have other rows. Then all rows are counted, but only now and then, because that
        is slow. Between two counts, and after a failed count, the number of rows is an estimate: the last count minus
        the rows removed since, but at least ``len(oldest)``.
        """
        if not more:
            self._count_due = self._clock()
            self.show(oldest, len(oldest))
            return
        if (began := self._clock()) >= self._count_due:
            try:
                self._backlog = await self._outbox.backlog()
            except StoreUnavailable as error:  # a count that takes too long must not keep the relay from publishing
                _log.warning("the waiting events can't be counted", error=str(error))
            self._count_due = self._clock() + max(_COUNT_SECONDS, _PAUSE_FACTOR * (self._clock() - began))
        self.show(oldest, max(self._backlog, len(oldest)))

    def note_removed(self, count: int) -> None:
        """Subtract ``count`` deleted rows from the estimated number of rows in the outbox."""
        self._backlog -= count


async def republish(outbox: OutboxStore) -> AsyncIterator[int]:
    """Put the lost events of the last 13 days back into the outbox. Yield their number after each transaction.

    An event is lost if it is neither in the outbox, nor counted, nor a dead letter. This includes an event that was
    published a moment ago: consumers see it twice, with the same id. Raises StoreUnavailable if the database does not
    answer.
    """
    last: bytes | None = first_id_of_ms(now_ms() - AGE // timedelta(milliseconds=1))
    while last is not None:
        added, last = await outbox.refill(last, _BATCH)
        yield added
