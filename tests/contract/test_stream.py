"""What every event stream promises, and those that can be listened to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from pycalc.models.events import Event
from pycalc.observability.metrics import Metrics
from pycalc.streaming import open_stream
from pycalc.streaming.base import Stream, Subscribable
from tests.contract.backends import STREAMS

pytestmark = pytest.mark.anyio

FAR_BEHIND = 100_000
"""More events than any stream keeps for a subscriber that does not read."""


def events(key: bytes, numbers: Iterable[int]) -> list[Event]:
    """Return events of one key."""
    return [Event(key + n.to_bytes(15), key, b'{"n":%d}' % n) for n in numbers]


@pytest.fixture(params=STREAMS)
async def stream(request: pytest.FixtureRequest) -> AsyncIterator[Stream]:
    """Open a stream."""
    opened = await open_stream(STREAMS[request.param], Metrics())
    yield opened
    await opened.aclose()


@pytest.fixture
def subscribable(stream: Stream) -> Subscribable:
    """Return the stream if it can be listened to."""
    if not isinstance(stream, Subscribable):
        pytest.skip("this stream can't be listened to")
    return stream


async def take(source: AsyncIterator[Event], count: int) -> list[Event]:
    """Return the next events."""
    async with asyncio.timeout(10):
        return [await anext(source) for _ in range(count)]


async def test_events_of_a_key_keep_their_order(stream: Stream, subscribable: Subscribable) -> None:
    """Within and across batches, events of one key arrive whole and in the order in which they were published."""
    ada, bob = events(b"a", range(10)), events(b"b", range(10))
    async with subscribable.subscribe() as heard:
        await stream.publish([*ada[:5], *bob[:5]])
        await stream.publish([*bob[5:], *ada[5:]])
        got = await take(heard, 20)
    assert [event for event in got if event.key == b"a"] == ada
    assert [event for event in got if event.key == b"b"] == bob


async def test_every_subscriber_hears_everything_from_now_on(stream: Stream, subscribable: Subscribable) -> None:
    """Each subscription has its own position, and begins with what is published after it."""
    first, second = events(b"a", range(2))
    async with subscribable.subscribe() as early:
        await stream.publish([first])
        async with subscribable.subscribe() as late:
            await stream.publish([second])
            assert await take(late, 1) == [second]
        assert await take(early, 2) == [first, second]


async def test_a_subscriber_that_is_too_far_behind_is_dropped(stream: Stream, subscribable: Subscribable) -> None:
    """Publishing never waits for a reader: one that does not read loses its subscription, the others lose nothing."""
    async with subscribable.subscribe() as slow, subscribable.subscribe() as quick:
        told = 0
        for start in range(0, FAR_BEHIND, 500):
            batch = events(b"a", range(start, start + 500))
            async with asyncio.timeout(10):
                await stream.publish(batch)
            assert await take(quick, 500) == batch
        async with asyncio.timeout(10):
            async for event in slow:
                assert event.payload == b'{"n":%d}' % told
                told += 1
    assert told < FAR_BEHIND


async def test_a_subscription_ends_with_the_stream(stream: Stream, subscribable: Subscribable) -> None:
    """What was published is still heard, then the iteration ends."""
    async with subscribable.subscribe() as heard:
        await stream.publish(events(b"a", range(1)))
        await stream.aclose()
        async with asyncio.timeout(10):
            assert [event async for event in heard] == events(b"a", range(1))


async def test_nobody_listening_is_nothing_wrong(stream: Stream) -> None:
    """Events without listeners are taken, and none at all too."""
    await stream.publish(events(b"a", range(3)))
    await stream.publish([])
    await stream.ping()


async def test_an_unknown_scheme_is_a_sentence() -> None:
    """The refusal names the setting and what there is."""
    with pytest.raises(ValueError, match=r"PYCALC_STREAM_URL.*'nowhere'.*memory"):
        await open_stream("nowhere://host", Metrics())
