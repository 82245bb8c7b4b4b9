"""Contract tests for usage totals and dead letters, with every database."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from pycalc.db.base import Database, DeadLetter, UsageFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlDeadLetterStore, SqlOutboxStore
from pycalc.db.usage import SqlUsageStore
from pycalc.errors import StoreUnavailable
from pycalc.models.ids import IdSource
from pycalc.models.usage import Total, Use
from tests.harness.stores import history_row

pytestmark = pytest.mark.anyio

ids = IdSource()
ADA, BOB = ids.next(), ids.next()
ALL = UsageFilter()


@pytest.fixture
def usage(database: Database) -> SqlUsageStore:
    """Return the store of usage totals, which is empty."""
    return SqlUsageStore(database)


def use(user: bytes = ADA, day: int = 100, operation: str = "pow", *, cached: bool = False, digits: int = 3) -> Use:
    """Return the amounts that one calculation, which took 20 microseconds, adds to the usage totals."""
    return Use(ids.next(), user, day, operation, cached, digits, 20)


async def test_uses_are_summed_by_user_day_and_operation(usage: SqlUsageStore) -> None:
    """Usage is summed by day and operation over the selected users, or over all users; the newest day comes first."""
    assert await usage.count([use(), use(cached=True), use(BOB), use(day=101), use(operation="fibonacci")]) == 5
    assert await usage.count([use(digits=4)]) == 1
    assert await usage.totals(UsageFilter(user_ids=(ADA,)), 10) == [
        Total(101, "pow", 1, 0, 3, 20),
        Total(100, "fibonacci", 1, 0, 3, 20),
        Total(100, "pow", 3, 1, 10, 60),
    ]
    assert await usage.totals(ALL, 10) == [
        Total(101, "pow", 1, 0, 3, 20),
        Total(100, "fibonacci", 1, 0, 3, 20),
        Total(100, "pow", 4, 1, 13, 80),
    ]
    assert await usage.totals(UsageFilter((ADA, BOB), 101), 10) == [Total(101, "pow", 1, 0, 3, 20)]
    assert await usage.totals(UsageFilter((ADA,), 100, 101), 1) == [Total(100, "fibonacci", 1, 0, 3, 20)]
    assert await usage.totals(UsageFilter(()), 10) == []


async def test_an_event_counts_once(usage: SqlUsageStore) -> None:
    """An event that is delivered twice, in one batch or in two, is counted once."""
    first, second = use(), use()
    assert await usage.count([first, first]) == 1
    assert await usage.count([first]) == 0
    assert await usage.count([first, second, second]) == 1
    assert await usage.totals(ALL, 10) == [Total(100, "pow", 2, 0, 6, 40)]


async def test_digits_are_summed_beyond_64_bits(usage: SqlUsageStore) -> None:
    """Total numbers of digits are exact beyond 64 bits; even a single result may have more than 10^21 digits."""
    await usage.count([use(digits=10**21 + 7) for _ in range(600)])
    await usage.count([use(digits=10**12 - 1), use(digits=1), use(BOB, digits=5)])
    (total,) = await usage.totals(ALL, 10)
    assert total.digits == 600 * 10**21 + 4_200 + 10**12 + 5


async def test_consumers_at_the_same_time_count_each_event_once(usage: SqlUsageStore) -> None:
    """If ten consumers receive the same events at the same time, each event is counted once."""
    shared = [use(user, day) for user in (ADA, BOB) for day in range(5)]

    async def consume(number: int) -> None:
        own = [use(), use(BOB)]
        while True:
            with suppress(StoreUnavailable):  # the database is busy, so the batch is delivered again
                await usage.count([*shared[number:], *own, *shared[:number]])
                return

    await asyncio.gather(*(consume(number) for number in range(10)))
    assert sum(total.calculations for total in await usage.totals(ALL, 100)) == 10 + 20


class TestDeadLetters:
    """The store of dead letters."""

    @staticmethod
    def letter(event_id: bytes | None) -> DeadLetter:
        """Return a dead letter without the number that the store will give it."""
        return DeadLetter(0, "relay", event_id, "outbox", "too large", b"{}", 1_700_000_000_000)

    async def test_a_dead_letter_leaves_the_outbox_and_comes_back(self, database: Database) -> None:
        """A dead-lettered event leaves the outbox, and is put back when requeued; other events keep their order."""
        history, outbox, letters = SqlHistoryStore(database), SqlOutboxStore(database), SqlDeadLetterStore(database)
        rows = [history_row(number) for number in range(3)]
        await history.append(rows)
        entries = await outbox.pending(10)
        await outbox.dead_letter({entries[1].seq: self.letter(rows[1].id)})
        assert [entry.row for entry in await outbox.pending(10)] == [rows[0], rows[2]]
        (put,) = await letters.page(0, 10)
        assert put == self.letter(rows[1].id)._replace(number=put.number)
        assert await letters.size() == 1
        assert await letters.page(put.number, 10) == []
        assert await letters.requeue(put.number)
        assert await letters.size() == 0
        assert [entry.row for entry in await outbox.pending(10)] == [rows[0], rows[2], rows[1]]
        assert not await letters.requeue(put.number)

    async def test_a_number_is_never_given_again(self, database: Database) -> None:
        """A discarded dead letter's number is never reused, so a repeated request can't discard another dead letter."""
        letters = SqlDeadLetterStore(database)
        await letters.put([self.letter(None)])
        (first,) = await letters.page(0, 10)
        assert await letters.discard(first.number)
        await letters.put([self.letter(None)])
        assert not await letters.discard(first.number)
        assert await letters.size() == 1

    async def test_what_is_no_event_can_only_be_discarded(self, database: Database) -> None:
        """A message that is not an event, or an event without a calculation in the history, can't be requeued."""
        letters = SqlDeadLetterStore(database)
        await letters.put([self.letter(None), self.letter(ids.next())])
        numbers = [letter.number for letter in await letters.page(0, 10)]
        assert [await letters.requeue(number) for number in numbers] == [False, False]
        assert [await letters.discard(number) for number in numbers] == [True, True]
        assert not await letters.discard(numbers[0])
        assert await letters.size() == 0
        assert await SqlOutboxStore(database).backlog() == 0

    async def test_a_calculation_whose_event_is_a_dead_letter_is_not_pruned(self, database: Database) -> None:
        """A calculation whose event is a dead letter is not pruned, so the event can be requeued."""
        history, outbox, letters = SqlHistoryStore(database), SqlOutboxStore(database), SqlDeadLetterStore(database)
        rows = [history_row(number) for number in range(3)]
        await history.append(rows)
        entries = await outbox.pending(10)
        await outbox.dead_letter({entries[0].seq: self.letter(rows[0].id)})
        await outbox.remove([entries[1].seq])
        assert await history.prune(b"\xff" * 16, 10) == 1
        await outbox.remove([entries[2].seq])
        assert await history.prune(b"\xff" * 16, 10) == 1
        (put,) = await letters.page(0, 10)
        assert await letters.requeue(put.number)
        assert [entry.row for entry in await outbox.pending(10)] == [rows[0]]


async def test_old_events_are_forgotten_in_batches(usage: SqlUsageStore) -> None:
    """Old events' ids are deleted in batches; the totals stay, and events whose ids are kept are not counted again."""
    uses = [use() for _ in range(7)]
    await usage.count(uses)
    totals = await usage.totals(ALL, 10)
    assert [await usage.forget(uses[5].event_id, 3) for _ in range(3)] == [3, 2, 0]
    assert await usage.totals(ALL, 10) == totals
    assert await usage.count(uses[5:]) == 0


async def test_the_outbox_is_refilled_with_lost_events_alone(database: Database, usage: SqlUsageStore) -> None:
    """Refilling the outbox adds the lost events in order.

    An event is lost if it is neither in the outbox, nor counted in the totals, nor a dead letter.
    """
    history, outbox, letters = SqlHistoryStore(database), SqlOutboxStore(database), SqlDeadLetterStore(database)
    rows = [history_row(n) for n in range(9)]
    await history.append(rows)
    waiting = await outbox.pending(10)
    dead = DeadLetter(0, "relay", rows[2].id, "outbox", "too large", b"{}", 0)
    await outbox.dead_letter({waiting[2].seq: dead})
    await letters.put([dead._replace(event_id=None)])
    await outbox.remove([entry.seq for entry in (*waiting[:2], *waiting[3:8])])
    await usage.count([use()._replace(event_id=rows[number].id) for number in (0, 4)])
    assert [entry.row for entry in await outbox.pending(10)] == [rows[8]]
    assert await outbox.refill(rows[0].id, 4) == (2, rows[4].id)
    assert await outbox.refill(rows[4].id, 10) == (3, rows[8].id)
    assert await outbox.refill(rows[8].id, 10) == (0, None)
    assert [entry.row for entry in await outbox.pending(10)] == [rows[8], *(rows[n] for n in (1, 3, 5, 6, 7))]
    assert await outbox.refill(bytes(16), 10) == (0, rows[8].id)
