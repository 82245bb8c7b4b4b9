"""Contract tests for streams with a broker: several instances, crashes and invalid events."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from pycalc.errors import EventsRefused
from pycalc.streaming.base import USAGE_GROUP
from tests.contract.backends import STREAMS, each
from tests.contract.conftest import Another
from tests.harness.consuming import consumed
from tests.harness.events import key_of, number_of, numbered
from tests.harness.group_members import group_member

pytestmark = pytest.mark.anyio

ADA, BOB = key_of("ada"), key_of("bob")
# Real brokers, whose leases and sessions last several seconds.
REAL = ["kafka", "pubsub"]
# A size in bytes above the limit of any broker.
TOO_LARGE = 11_000_000
SECONDS = 45.0


@pytest.fixture(params=each(name for name in STREAMS if name != "memory"))
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a new topic."""
    return STREAMS[request.param](request, f"broker-{secrets.token_hex(6)}")


async def test_events_wait_for_the_first_consumer(another: Another) -> None:
    """The usage group receives events from before its first consumer started. Publishing an empty batch is allowed."""
    events, publisher = numbered(ADA, range(5)), await another()
    await publisher.publish(events)
    await publisher.publish([])
    await publisher.ping()
    assert await consumed(await another(), 5) == events


async def test_a_commit_is_of_its_batch_and_those_before(another: Another) -> None:
    """After a member leaves, another one receives the events that followed the last committed batch."""
    stream, (first, second) = await another(), (numbered(ADA, range(1)), numbered(BOB, range(1, 2)))
    async with asyncio.timeout(SECONDS), stream.consume(USAGE_GROUP) as member:
        batches = []
        for events in (first, second):
            await stream.publish(events)
            while not (batch := await member.receive()).deliveries:
                pass
            batches.append(batch)
        await member.commit(batches[0])
    assert await consumed(await another(), 1) == second


@pytest.mark.parametrize("url", each(REAL), indirect=True)
async def test_a_killed_member_s_events_come_again(url: str, another: Another) -> None:
    """The uncommitted events of a killed member are delivered to another member."""
    publisher = await another()
    first, second = numbered(ADA, range(3)), numbered(ADA, range(3, 6))
    with group_member(url, USAGE_GROUP) as doomed:
        await publisher.publish(first)
        assert await asyncio.to_thread(doomed.received) == [0, 1, 2]
        doomed.commit()
        await publisher.publish(second)
        assert await asyncio.to_thread(doomed.received) == [3, 4, 5]
        doomed.kill()
        assert await consumed(await another(), 3) == second


@pytest.mark.parametrize("url", each(REAL), indirect=True)
async def test_a_member_that_was_away_goes_on(url: str, another: Another) -> None:
    """A member that hangs loses its events to another one. Its late commit does no harm, and it rejoins the group."""
    publisher = await another()
    await publisher.publish(numbered(ADA, range(3)))
    with group_member(url, USAGE_GROUP) as absent:
        assert await asyncio.to_thread(absent.received) == [0, 1, 2]
        absent.pause()
        assert [number_of(event) for event in await consumed(await another(), 3)] == [0, 1, 2]
        absent.resume()
        await asyncio.to_thread(absent.commit)
        await publisher.publish(numbered(ADA, range(3, 6)))
        async with asyncio.timeout(SECONDS):
            while 5 not in await asyncio.to_thread(absent.received):  # the events may come in several batches
                await asyncio.to_thread(absent.commit)


async def test_an_event_that_is_too_large_is_refused_alone(another: Another) -> None:
    """Only the oversized event is refused; all others are accepted in order, including those with its key."""
    stream = await another()
    ada, bob = numbered(ADA, range(5)), numbered(BOB, range(5))
    (monster,) = numbered(ADA, [99], TOO_LARGE)
    with pytest.raises(EventsRefused) as refusal:
        await stream.publish([*ada[:2], monster, *bob, *ada[2:]])
    assert list(refusal.value.refused) == [monster.id]
    got = await consumed(await another(), 10)
    assert [event for event in got if event.key == ADA] == ada
    assert [event for event in got if event.key == BOB] == bob
    await stream.ping()
