"""The publisher of the outbox: it publishes events, and deletes the rows that the stream has stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time_ns

from structlog import get_logger

from pycalc.db.base import DeadLetter, OutboxRow, OutboxStore
from pycalc.errors import EventsRefused
from pycalc.models.events import event_of
from pycalc.models.ids import now_ms
from pycalc.observability.metrics import EventMetrics
from pycalc.observability.tracing import Tracer, record_each
from pycalc.services.events.retry_schedule import RetrySchedule
from pycalc.streaming.base import Publisher

_log = get_logger(__name__)


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
