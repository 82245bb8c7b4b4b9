"""Contract tests for every event stream: durable, ordered, delivered at least once, shared by a group."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import pytest

from pycalc.models.events import Event
from pycalc.observability.metrics import Metrics
from pycalc.streaming import open_stream
from pycalc.streaming.base import MAX_MESSAGES, Delivery, Member, Stream
from tests.contract.backends import STREAMS, each
from tests.harness.events import key_of, numbered

pytestmark = pytest.mark.anyio

ADA, BOB = key_of("ada"), key_of("bob")
SECONDS = 30.0


@pytest.fixture(params=each(STREAMS))
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a new topic."""
    return STREAMS[request.param](request, f"contract-{secrets.token_hex(6)}")


@pytest.fixture
async def stream(url: str) -> AsyncIterator[Stream]:
    """Open a stream on the new topic."""
    opened = await open_stream(url, Metrics())
    yield opened
    await opened.aclose()


async def consume(member: Member, count: int) -> list[Event]:
    """Receive and commit batches until ``count`` events have arrived."""
    events: list[Event] = []
    async with asyncio.timeout(SECONDS):
        while len(events) < count:
            batch = await member.receive()
            events += events_of(batch.deliveries)
            await member.commit(batch)
    return events


def events_of(deliveries: Iterable[Delivery]) -> list[Event]:
    """Return the events of deliveries, all of which must be valid."""
    events = [delivery.event for delivery in deliveries]
    assert None not in events
    return [event for event in events if event is not None]


def of_key(events: Sequence[Event], key: bytes) -> list[Event]:
    """Return the events with this key."""
    return [event for event in events if event.key == key]


@asynccontextmanager
async def publishing(stream: Stream, events: Sequence[Event]) -> AsyncIterator[None]:
    """Publish events in the background, because a stream may wait for its consumers."""
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(stream.publish(events))
        yield


async def test_a_group_gets_every_event_in_the_order_of_its_key(stream: Stream) -> None:
    """While a group has a member, it receives every event unchanged, in order for each key, and in bounded batches."""
    ada, bob = numbered(ADA, range(1_200)), numbered(BOB, range(1_200))
    got: list[Event] = []
    largest = 0
    async with stream.consume("usage") as member, publishing(stream, [*ada, *bob]), asyncio.timeout(SECONDS):
        while len(got) < 2_400:
            batch = await member.receive()
            largest = max(largest, len(batch.deliveries))
            got += events_of(batch.deliveries)
            await member.commit(batch)
    assert of_key(got, ADA) == ada
    assert of_key(got, BOB) == bob
    assert 1 < largest <= MAX_MESSAGES


async def test_what_is_committed_does_not_come_again(stream: Stream) -> None:
    """A member that joins later continues after the group's last commit."""
    first, second = numbered(ADA, range(2))
    async with stream.consume("usage") as member, publishing(stream, [first]):
        assert await consume(member, 1) == [first]
    async with stream.consume("usage") as member, publishing(stream, [second]):
        assert await consume(member, 1) == [second]


async def test_what_is_not_committed_comes_again(stream: Stream) -> None:
    """Uncommitted events are delivered to the next member in order, before all later events of their key."""
    events = numbered(ADA, range(5))
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
        async with stream.consume("usage") as member:
            tasks.create_task(stream.publish(events))
            undone: list[Event] = []
            while not undone:
                undone += events_of((await member.receive()).deliveries)
        async with stream.consume("usage") as member:
            got = await consume(member, 5)
    assert undone == events[: len(undone)]
    assert got == events


async def test_what_is_committed_of_many_keys_does_not_come_again(stream: Stream) -> None:
    """A commit covers all events of its batch, whatever their keys."""
    events = [event for n in range(20) for event in numbered(key_of(f"user {n}"), range(2))]
    last = numbered(ADA, range(1))
    async with stream.consume("usage") as member, publishing(stream, events):
        assert sorted(await consume(member, 40)) == sorted(events)
    async with stream.consume("usage") as member, publishing(stream, last):
        assert await consume(member, 1) == last


async def test_an_empty_batch_commits_nothing(stream: Stream) -> None:
    """Committing an empty batch leaves later events uncommitted."""
    events = numbered(ADA, range(2))
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
        async with stream.consume("usage") as member:
            empty = await member.receive()
            assert not empty.deliveries
            tasks.create_task(stream.publish(events))
            while not (await member.receive()).deliveries:
                pass
            await member.commit(empty)
        async with stream.consume("usage") as member:
            assert await consume(member, 2) == events


async def test_a_batch_may_be_committed_twice(stream: Stream) -> None:
    """A second commit of a batch has no effect."""
    events = numbered(ADA, range(2))
    async with stream.consume("usage") as member, publishing(stream, events), asyncio.timeout(SECONDS):
        got: list[Event] = []
        while len(got) < 2:
            batch = await member.receive()
            got += events_of(batch.deliveries)
            await member.commit(batch)
            await member.commit(batch)
    assert got == events


async def test_each_group_gets_every_event(stream: Stream) -> None:
    """Each group receives every event independently of other groups."""
    events = numbered(ADA, range(3))
    async with (
        stream.consume("usage") as first,
        stream.consume("audit") as second,
        publishing(stream, events),
    ):
        got = await asyncio.gather(consume(first, 3), consume(second, 3))
    assert list(got) == [events, events]


async def test_members_of_a_group_share_the_events(stream: Stream) -> None:
    """Two members together receive all events, in order for each key, and each receives some."""
    keys = [key_of(f"user {n}") for n in range(40)]
    published: list[Event] = []
    got: list[list[Event]] = [[], []]

    async def publish() -> None:
        while not all(got):
            events = [event for key in keys for event in numbered(key, range(5))]
            await stream.publish(events)
            published.extend(events)

    async def work(member: Member, mine: list[Event], publisher: asyncio.Task[None]) -> None:
        while not publisher.done() or not {*published} <= {*got[0], *got[1]}:
            batch = await member.receive()
            mine += events_of(batch.deliveries)
            await member.commit(batch)

    async with (
        stream.consume("usage") as first,
        stream.consume("usage") as second,
        asyncio.timeout(SECONDS),
        asyncio.TaskGroup() as tasks,
    ):
        publisher = tasks.create_task(publish())
        tasks.create_task(work(first, got[0], publisher))
        tasks.create_task(work(second, got[1], publisher))
    for mine in got:
        for key in keys:
            first_seen = list(dict.fromkeys(of_key(mine, key)))
            assert first_seen == sorted(first_seen)


async def test_a_receive_that_is_cancelled_loses_nothing(stream: Stream) -> None:
    """Cancelling a receive loses no event."""
    events = numbered(ADA, range(3))
    got: list[Event] = []
    async with stream.consume("usage") as member:
        for event in events:
            async with publishing(stream, [event]):
                while event not in got:
                    try:
                        async with asyncio.timeout(0.002):
                            batch = await member.receive()
                    except TimeoutError:
                        continue
                    got += events_of(batch.deliveries)
                    await member.commit(batch)
    assert got == events


async def test_waiting_for_events_ends_without_any(stream: Stream) -> None:
    """If no event arrives, a receive ends with an empty batch."""
    async with stream.consume("usage") as member, asyncio.timeout(SECONDS):
        batch = await member.receive()
        await member.commit(batch)
    assert not batch.deliveries


async def test_an_unknown_scheme_is_a_sentence() -> None:
    """The error for a URL with an unknown scheme names the setting, the scheme and the known ones."""
    with pytest.raises(ValueError, match=r"PYCALC_STREAM_URL.*'nowhere'.*memory, kafka, kafka\+ssl, pubsub"):
        await open_stream("nowhere://host", Metrics())
