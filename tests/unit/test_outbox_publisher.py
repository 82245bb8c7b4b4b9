"""The publisher of the outbox, when the database fails between the publishing of events and its record of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from pycalc.db.base import DeadLetter, OutboxRow
from pycalc.errors import StoreUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import NO_TRACER
from pycalc.services.events.outbox import OutboxPublisher
from pycalc.services.events.retry_schedule import RetrySchedule
from tests.harness.relaying import ListeningStream
from tests.harness.stores import MemoryOutboxStore, history_row

pytestmark = pytest.mark.anyio


class ReadOnlyOutbox(MemoryOutboxStore):
    """An outbox that can be read, but not written while ``writable`` is false."""

    writable = True

    async def remove(self, seqs: Sequence[int]) -> None:
        self._require_writable()
        await super().remove(seqs)

    async def dead_letter(self, letters: Mapping[int, DeadLetter]) -> None:
        self._require_writable()
        await super().dead_letter(letters)

    def _require_writable(self) -> None:
        if not self.writable:
            raise StoreUnavailable("The database is not available.")


class Publishing:
    """A publisher of an outbox with ``count`` events, whose clock the test sets."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.outbox = ReadOnlyOutbox([history_row(n) for n in range(count)])
        self.stream = ListeningStream(self.outbox)
        self.schedule = RetrySchedule(60.0, lambda: self.now)
        self._publisher = OutboxPublisher(self.outbox, self.stream, Metrics(), self.schedule, NO_TRACER)

    async def publish(self, count: int) -> int:
        """Publish the oldest events that are not retried later; return how many left the outbox."""
        fresh, due = self.schedule.split(await self.outbox.pending(count))
        return await self._publisher.publish(fresh + due)

    async def fail(self, count: int) -> None:
        """Publish events while the outbox can't be written."""
        self.outbox.writable = False
        with pytest.raises(StoreUnavailable):
            await self.publish(count)
        self.outbox.writable = True


async def test_a_smaller_batch_does_not_repeat_published_events() -> None:
    """If published rows can't be deleted and the next batches are smaller, no event is published again."""
    publishing = Publishing(500)
    rows = list(publishing.outbox.entries.values())
    await publishing.fail(500)
    assert [await publishing.publish(count) for count in (31, 62, 500)] == [31, 62, 407]
    assert [event.id for event in publishing.stream.events] == [row.id for row in rows]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_dead_letter_that_cannot_be_stored_is_stored_at_the_next_try(others: int) -> None:
    """If a dead letter can't be stored, its event counts as refused until a later try stores it.

    The event's refusals do not start anew, and other events of the batch are not published again.
    """
    publishing = Publishing(1)
    (poison,) = publishing.outbox.entries.values()
    publishing.stream.refused = {poison.id}
    for now in (0, 10, 20, 40):
        publishing.now = now
        assert await publishing.publish(1) == 0
    publishing.now = 60
    publishing.outbox.add([history_row(n) for n in range(others)])
    await publishing.fail(1 + others)
    assert len(publishing.schedule) == 1
    assert await publishing.publish(1 + others) == 1 + others
    assert len(publishing.schedule) == 0
    assert [letter.event_id for letter in publishing.outbox.letters] == [poison.id]
    assert len(publishing.stream.events) == others


async def test_a_refusal_counts_although_the_published_rows_cannot_be_deleted() -> None:
    """If one event is refused and the rows of the others can't be deleted, the refusal is scheduled for a retry."""
    publishing = Publishing(2)
    publishing.stream.refused = {publishing.outbox.entries[1].id}
    await publishing.fail(2)
    assert publishing.schedule.split(await publishing.outbox.pending(2)) == (
        [OutboxRow(2, publishing.outbox.entries[2])],
        [],
    )
    assert await publishing.publish(2) == 1
    assert len(publishing.stream.attempts) == 1
