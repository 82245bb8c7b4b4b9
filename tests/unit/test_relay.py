"""The relay's promises, over an outbox in memory and a stream that can fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from pycalc.errors import StoreUnavailable, StreamUnavailable
from pycalc.models.events import Event
from pycalc.observability.metrics import Metrics
from pycalc.services.relay import Relay
from tests.services.stores import MemoryOutboxStore, history_row
from tests.services.waiting import until

pytestmark = pytest.mark.anyio


class ListeningStream:
    """A stream that keeps what it takes, and looks at the outbox when it does."""

    def __init__(self, outbox: MemoryOutboxStore) -> None:
        self.events: list[Event] = []
        self.attempts: list[list[bytes]] = []
        """The ids of each batch, taken or not."""
        self.in_outbox: list[int] = []
        """How many entries the outbox had when a batch was published."""
        self.failure: Exception | None = None
        self._outbox = outbox

    async def publish(self, events: Sequence[Event]) -> None:
        """See Stream."""
        self.attempts.append([event.id for event in events])
        self.in_outbox.append(len(self._outbox.entries))
        if self.failure is not None:
            raise self.failure
        self.events += events

    async def ping(self) -> None:
        """See Stream."""

    async def aclose(self) -> None:
        """See Stream."""


@asynccontextmanager
async def relaying(outbox: MemoryOutboxStore, stream: ListeningStream) -> AsyncIterator[tuple[Relay, Metrics]]:
    """Run a relay, and close it in the end."""
    metrics = Metrics()
    relay = Relay(outbox, stream, metrics)
    try:
        yield relay, metrics
    finally:
        await relay.aclose()


async def test_what_an_earlier_process_left_is_published_without_being_told() -> None:
    """A restart publishes the outbox at once, in its order, each calculation under its own id and its user's key."""
    rows = [history_row(n) for n in range(3)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    async with relaying(outbox, stream):
        await until(lambda: not outbox.entries, "the outbox is empty")
    assert [event.id for event in stream.events] == [row.id for row in rows]
    assert {event.key for event in stream.events} == {rows[0].user_id}
    assert [json.loads(event.payload)["data"]["input"] for event in stream.events] == [{"n": n} for n in range(3)]


async def test_entries_are_removed_only_after_the_stream_took_them() -> None:
    """Publish, then delete: a crash in between repeats an event, it never loses one."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    async with relaying(outbox, stream):
        await until(lambda: not outbox.entries, "the outbox is empty")
    assert stream.in_outbox == [1]


async def test_new_entries_follow_when_the_relay_is_woken() -> None:
    """``wake`` is enough: what was committed later is published after what was there."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    async with relaying(outbox, stream) as (relay, _):
        await until(lambda: not outbox.entries, "the outbox is empty")
        later = [history_row(n) for n in range(2)]
        outbox.add(later)
        relay.wake()
        await until(lambda: not outbox.entries, "the outbox is empty again")
    assert [event.id for event in stream.events[1:]] == [row.id for row in later]


@pytest.mark.parametrize("failure", [StreamUnavailable("The broker is down."), RuntimeError("a bug")])
async def test_a_stream_that_fails_costs_nothing_but_a_backlog(failure: Exception) -> None:
    """Entries stay while publishing fails, whatever is raised; they go out under the same ids afterwards."""
    rows = [history_row(n) for n in range(3)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    stream.failure = failure
    async with relaying(outbox, stream) as (_, metrics):
        await until(lambda: len(stream.attempts) >= 2, "a second try")
        assert len(outbox.entries) == 3
        assert metrics.registry.get_sample_value("pycalc_outbox_backlog") == 3
        stream.failure = None
        await until(lambda: not outbox.entries, "the outbox is empty")
        backlog = metrics.registry.get_sample_value
        await until(lambda: backlog("pycalc_outbox_backlog") == 0, "the metric says so")
    assert stream.attempts[0] == stream.attempts[-1] == [row.id for row in rows]
    assert [event.id for event in stream.events] == [row.id for row in rows]


@pytest.mark.parametrize("failure", [StoreUnavailable("The database is not available."), RuntimeError("a bug")])
async def test_an_outbox_that_can_not_be_read_does_not_end_the_relay(failure: Exception) -> None:
    """A database that is away for a while is tried again, whatever it raises."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    outbox.failure = failure
    async with relaying(outbox, stream) as (_, metrics):
        failures = metrics.registry.get_sample_value
        await until(lambda: bool(failures("pycalc_relay_failures_total")), "a failure")
        outbox.failure = None
        await until(lambda: not outbox.entries, "the outbox is empty")
    assert len(stream.events) == 1


async def test_the_backlog_metric_counts_what_is_beyond_a_batch() -> None:
    """While more than a batch is waiting the gauge tells all of it, not just the batch in hand."""
    outbox = MemoryOutboxStore([history_row(n) for n in range(1_200)])
    stream = ListeningStream(outbox)
    told: set[float | None] = set()
    async with relaying(outbox, stream) as (_, metrics):

        def backlog() -> float | None:
            return metrics.registry.get_sample_value("pycalc_outbox_backlog")

        def emptied() -> bool:
            told.add(backlog())
            return not outbox.entries

        await until(emptied, "the outbox is empty")
        await until(lambda: backlog() == 0, "the gauge says so")
    assert 700 in told


async def test_closing_publishes_the_rest_though_nobody_woke_the_relay() -> None:
    """Closing drains the outbox, more than a batch of it, while the stream still takes events."""
    outbox = MemoryOutboxStore()
    stream = ListeningStream(outbox)
    relay = Relay(outbox, stream, Metrics())
    await asyncio.sleep(0)
    outbox.add([history_row(n) for n in range(1_200)])
    await relay.aclose()
    assert len(stream.events) == 1_200
    assert not outbox.entries


async def test_closing_ends_although_the_stream_is_down() -> None:
    """A broker that is down does not hold up the end of the service; the entries stay for the next start."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    stream.failure = StreamUnavailable("The broker is down.")
    relay = Relay(outbox, stream, Metrics())
    await until(lambda: bool(stream.attempts), "a first try")
    async with asyncio.timeout(5):
        await relay.aclose()
    assert len(outbox.entries) == 1
