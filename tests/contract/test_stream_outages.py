"""Contract tests for streams whose broker goes away and comes back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack

import pytest

from pycalc.errors import StreamUnavailable
from pycalc.models.events import Event
from pycalc.streaming.base import Stream
from tests.contract.backends import OUTAGES, STREAMS, each
from tests.contract.conftest import Another
from tests.harness.events import key_of, number_of, numbered
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

KEYS = [key_of(f"user {n}") for n in range(20)]
# A deadline for operations that must end by themselves.
SECONDS = 180.0

Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=each(OUTAGES))
def kind(request: pytest.FixtureRequest) -> str:
    """Return an outage's name, which says which broker fails and how."""
    name: str = request.param
    return name


@pytest.fixture
def outage(request: pytest.FixtureRequest, kind: str) -> Outage:
    """Return a function whose context manager makes the broker fail on entry and work again on exit."""
    return lambda: OUTAGES[kind][1](request)


@pytest.fixture
def url(request: pytest.FixtureRequest, kind: str) -> str:
    """Return the URL of a new topic."""
    return STREAMS[OUTAGES[kind][0]](request, f"outage-{secrets.token_hex(6)}")


async def persist(stream: Stream, events: list[Event]) -> None:
    """Publish the same batch until it is accepted, as the relay does."""
    while True:
        try:
            await stream.publish(events)
        except StreamUnavailable:
            await asyncio.sleep(0.1)
        else:
            return


async def fails(call: Awaitable[object]) -> None:
    """Assert that a call raises StreamUnavailable."""
    with pytest.raises(StreamUnavailable):
        await call


async def test_a_broker_that_is_away_is_unavailable(another: Another, outage: Outage) -> None:
    """During an outage, streams opened before and during it raise StreamUnavailable; afterwards both work."""
    events = [event for key in KEYS for event in numbered(key, range(3))]
    used = await another()
    await used.publish(events)
    await used.ping()
    with outage():
        fresh = await another()
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(
                fails(used.publish(events)),
                fails(fresh.publish(events)),
                fails(used.ping()),
                fails(fresh.ping()),
                fails(AsyncExitStack().enter_async_context(fresh.consume("usage"))),
            )
    async with asyncio.timeout(SECONDS):
        for stream in (used, fresh):
            await persist(stream, events)
            await stream.ping()


async def test_nothing_is_lost_and_nothing_overtakes(another: Another, outage: Outage) -> None:
    """If batches are retried until accepted, every event arrives, and each key's events are first seen in order."""
    stream = await another()
    batches = [[event for key in KEYS for event in numbered(key, range(5 * n, 5 * n + 5))] for n in range(60)]
    published = 0

    async def publish() -> None:
        nonlocal published
        for batch in batches:
            await persist(stream, batch)
            published += 1

    seen: dict[bytes, list[Event]] = {key: [] for key in KEYS}
    async with stream.consume("usage") as member, asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(publish())
        await until(lambda: published > 5, "some batches are accepted")
        with outage():
            await asyncio.sleep(1)  # the length of the outage under load
        while sum(map(len, seen.values())) < 60 * 5 * len(KEYS):
            try:
                batch = await member.receive()
                await member.commit(batch)
            except StreamUnavailable:
                continue
            for event, *_ in batch.deliveries:
                assert event is not None
                if event not in seen[event.key]:
                    seen[event.key].append(event)
    assert {key: [number_of(event) for event in events] for key, events in seen.items()} == {
        key: list(range(300)) for key in KEYS
    }
