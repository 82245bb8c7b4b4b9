"""Several relays on one PostgreSQL: one publishes, others stand by, and each user's events stay in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from pycalc.db import open_database
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.errors import StreamUnavailable
from pycalc.models.events import Event
from pycalc.models.history import HistoryRow
from pycalc.observability.metrics import Metrics
from pycalc.services.events.relay import Relay
from tests.harness.stores import history_row
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

USERS = [bytes([number]) * 16 for number in range(5)]


class SharedStream:
    """A stream that all relays share; it sometimes fails after accepting a part of a batch."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._chance = random.Random(7)  # noqa: S311  # not used for secrets

    async def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            await asyncio.sleep(0)
            if self._chance.random() < 0.002:
                raise StreamUnavailable("The broker went away.")
            self.events.append(event)

    async def ping(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


@pytest.fixture
async def outboxes(postgres_url: str) -> AsyncIterator[list[SqlOutboxStore]]:
    """Open one database three times, as three processes do."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(3):
            database = await open_database(postgres_url)
            stack.push_async_callback(database.aclose)
            opened.append(SqlOutboxStore(database))
        yield opened


async def test_one_holds_the_lease(outboxes: list[SqlOutboxStore]) -> None:
    """One relay holds and renews the lease; another one gets it after a release or an expiry."""
    first, second = b"1" * 16, b"2" * 16
    assert await outboxes[0].hold(first, 60_000)
    assert not await outboxes[1].hold(second, 60_000)
    assert await outboxes[0].hold(first, 60_000)
    await outboxes[1].release(second)
    assert not await outboxes[1].hold(second, 60_000)
    await outboxes[0].release(first)
    assert await outboxes[1].hold(second, -1)
    assert await outboxes[0].hold(first, 60_000)


async def test_a_lease_of_a_clock_that_was_ahead_is_not_waited_for(outboxes: list[SqlOutboxStore]) -> None:
    """A lease is free if it ends later than twice the requested duration from now.

    It can end so late only because the database's clock has been set back.
    """
    first, second = b"1" * 16, b"2" * 16
    assert await outboxes[0].hold(first, 3_600_000)
    assert not await outboxes[1].hold(second, 1_810_000)
    assert await outboxes[1].hold(second, 10_000)
    assert not await outboxes[0].hold(first, 10_000)


async def test_order_is_kept_by_user_whoever_publishes(outboxes: list[SqlOutboxStore]) -> None:
    """If relays stop and the broker fails, each user's events still arrive in commit order, apart from repetitions."""
    stream, recorded = SharedStream(), list[HistoryRow]()
    history = SqlHistoryStore(outboxes[0]._database)
    relays = [Relay(outbox, stream, Metrics(), shared=True) for outbox in outboxes]
    for number in range(60):
        rows = [history_row(number, user_id=user) for user in USERS]
        await history.append(rows)
        recorded += rows
        if number % 20 == 10:
            await until(lambda: any(relay._holds_lease for relay in relays), "one of them leads")
            leader = next(relay for relay in relays if relay._holds_lease)
            await leader.aclose()
            place = relays.index(leader)
            relays[place] = Relay(outboxes[place], stream, Metrics(), shared=True)
    expected = {row.id for row in recorded}
    await until(lambda: {event.id for event in stream.events} == expected, "all have arrived", 60)
    for relay in relays:
        await relay.aclose()
    assert await outboxes[0].backlog() == 0
    for user in USERS:
        seen = list(dict.fromkeys(event.id for event in stream.events if event.key == user))
        assert seen == [row.id for row in recorded if row.user_id == user]
