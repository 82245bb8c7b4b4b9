"""The in-process stream: it stores nothing, so publishing waits until the consumer has committed."""

from __future__ import annotations

import asyncio

import pytest

from pycalc.errors import StreamUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.streaming.memory import MemoryStream
from tests.harness.events import key_of, numbered

pytestmark = pytest.mark.anyio

ADA = key_of("ada")
SECONDS = 10.0


async def test_publishing_waits_for_the_commit() -> None:
    """Publishing returns only after the consumer's commit, so that a kill in between loses no event."""
    stream = MemoryStream("memory://", Metrics())
    async with stream.consume("usage") as member, asyncio.timeout(SECONDS):
        publishing = asyncio.create_task(stream.publish(numbered(ADA, range(3))))
        batch = await member.receive()
        await asyncio.sleep(0)
        assert len(batch.deliveries) == 3
        assert not publishing.done()
        await member.commit(batch)
        await publishing


async def test_publishing_fails_without_a_commit_in_time() -> None:
    """Without a commit in time, publishing fails. A late commit is harmless, and the events can be published again."""
    metrics = Metrics()
    stream = MemoryStream("memory://", metrics, publish_seconds=0.05)
    events = numbered(ADA, range(3))
    async with stream.consume("usage") as member, asyncio.timeout(SECONDS):
        publishing = asyncio.create_task(stream.publish(events))
        late = await member.receive()
        with pytest.raises(StreamUnavailable):
            await publishing
        await member.commit(late)
        publishing = asyncio.create_task(stream.publish(events))
        batch = await member.receive()
        await member.commit(batch)
        await publishing
    assert [delivery.event for delivery in batch.deliveries] == events
    assert metrics.registry.get_sample_value("pycalc_stream_failures_total", {"call": "publish"}) == 1


async def test_a_group_stays_when_its_last_member_leaves() -> None:
    """After the last consumer has left, publishing fails, and a later consumer does not receive the failed event."""
    stream = MemoryStream("memory://", Metrics(), publish_seconds=0.05)
    first, second = numbered(ADA, range(2))
    async with stream.consume("usage"):
        pass
    with pytest.raises(StreamUnavailable):
        await stream.publish([first])
    async with stream.consume("usage") as member, asyncio.timeout(SECONDS):
        publishing = asyncio.create_task(stream.publish([second]))
        batch = await member.receive()
        await member.commit(batch)
        await publishing
    assert [delivery.event for delivery in batch.deliveries] == [second]


async def test_a_commit_covers_the_batches_before_it_and_none_after_it() -> None:
    """Committing the second of three received batches ends the publishing of the first two, but not of the third."""
    stream = MemoryStream("memory://", Metrics())
    async with stream.consume("usage") as member, asyncio.timeout(SECONDS):
        publishing, batches = [], []
        for event in numbered(ADA, range(3)):
            publishing.append(asyncio.create_task(stream.publish([event])))
            batches.append(await member.receive())
        await member.commit(batches[1])
        await asyncio.gather(*publishing[:2])
        await asyncio.sleep(0)
        assert not publishing[2].done()
        await member.commit(batches[2])
        await publishing[2]


async def test_events_that_nobody_will_count_are_refused() -> None:
    """Before a group is joined, publishing fails, so that no relay deletes events that no consumer has counted."""
    metrics = Metrics()
    with pytest.raises(StreamUnavailable, match="not being consumed"):
        await MemoryStream("memory://", metrics).publish(numbered(ADA, range(1)))
    assert metrics.registry.get_sample_value("pycalc_stream_failures_total", {"call": "publish"}) == 1
