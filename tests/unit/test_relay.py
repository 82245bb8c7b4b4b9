"""The relay, which publishes the outbox to a stream; here the outbox is in memory and the stream can fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from pycalc.backoff import full_jitter
from pycalc.errors import StoreUnavailable, StreamUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.services.events.relay import Relay
from pycalc.streaming.base import PUBLISH_SECONDS
from tests.harness.relaying import ListeningStream, relaying
from tests.harness.stores import MemoryOutboxStore, history_row
from tests.harness.tracing import RecordingTracer
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until


@in_virtual_time
async def test_a_restart_publishes_the_outbox_at_once() -> None:
    """A restarted relay publishes the outbox in order. An event has its calculation's id, and its user's id as key."""
    rows = [history_row(n) for n in range(3)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    async with relaying(outbox, stream):
        await until(lambda: not outbox.entries, "the outbox is empty")
    assert [event.id for event in stream.events] == [row.id for row in rows]
    assert {event.key for event in stream.events} == {rows[0].user_id}
    assert [json.loads(event.payload)["data"]["input"] for event in stream.events] == [{"n": n} for n in range(3)]


@in_virtual_time
async def test_entries_are_removed_only_after_the_stream_took_them() -> None:
    """Entries are removed after they are published, so that a crash in between repeats events and loses none."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    async with relaying(outbox, stream):
        await until(lambda: not outbox.entries, "the outbox is empty")
    assert stream.in_outbox == [1]


@in_virtual_time
async def test_events_are_not_repeated_while_the_outbox_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """If published entries can't be removed, only their removal is retried. New entries are published meanwhile."""
    rows = [history_row(n) for n in range(3)]
    outbox = MemoryOutboxStore(rows[:2])
    stream, removals = ListeningStream(outbox), list[list[int]]()

    async def failing(seqs: Sequence[int]) -> None:
        removals.append(list(seqs))
        raise StoreUnavailable("The database is not available.")

    with monkeypatch.context() as patching:
        patching.setattr(outbox, "remove", failing)
        async with relaying(outbox, stream):
            await until(lambda: len(removals) >= 20, "the removal was tried 20 times")
            outbox.add(rows[2:])
            await until(lambda: removals[-1] == [1, 2, 3], "the removal includes the new entry")
            patching.undo()
            await until(lambda: not outbox.entries, "the outbox is empty")
    assert [event.id for event in stream.events] == [row.id for row in rows]


@in_virtual_time
async def test_new_entries_follow_when_the_relay_is_woken() -> None:
    """After ``wake``, the relay publishes new entries in order."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    async with relaying(outbox, stream) as (relay, _):
        await until(lambda: not outbox.entries, "the outbox is empty")
        later = [history_row(n) for n in range(2)]
        outbox.add(later)
        relay.wake()
        await until(lambda: not outbox.entries, "the outbox is empty again")
    assert [event.id for event in stream.events[1:]] == [row.id for row in later]


class HeldByAnother(MemoryOutboxStore):
    """An outbox whose lease belongs to another relay."""

    asked = 0

    async def hold(self, owner: bytes, milliseconds: int) -> bool:
        self.asked += 1
        return False


@in_virtual_time
async def test_a_relay_in_waiting_does_not_ask_for_the_lease_at_each_commit() -> None:
    """A standby relay asks for the lease twice a second, not at each commit of its process."""
    outbox = HeldByAnother([])
    relay = Relay(outbox, ListeningStream(outbox), Metrics(), shared=True, clock=now)
    began = now()

    def asked_again() -> bool:
        relay.wake()
        return outbox.asked >= 3

    await until(asked_again, "the relay has asked for the lease three times")
    assert now() - began >= 1
    await relay.aclose()


@pytest.mark.parametrize("failure", [StreamUnavailable("The broker is down."), RuntimeError("a bug")])
@in_virtual_time
async def test_a_stream_that_fails_costs_nothing_but_a_backlog(failure: Exception) -> None:
    """If publishing raises any error, the entries stay, and are published later under the same ids."""
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
        await until(lambda: backlog("pycalc_outbox_backlog") == 0, "the backlog metric is 0")
    assert stream.attempts[0] == [row.id for row in rows]
    assert [event.id for event in stream.events] == [row.id for row in rows]


@pytest.mark.parametrize("failure", [StoreUnavailable("The database is not available."), RuntimeError("a bug")])
@in_virtual_time
async def test_an_outbox_that_can_not_be_read_does_not_end_the_relay(failure: Exception) -> None:
    """If reading the outbox raises any error, the relay tries again."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    outbox.failure = failure
    async with relaying(outbox, stream) as (_, metrics):
        failures = metrics.registry.get_sample_value
        await until(lambda: bool(failures("pycalc_relay_failures_total")), "a failure")
        outbox.failure = None
        await until(lambda: not outbox.entries, "the outbox is empty")
    assert len(stream.events) == 1


@in_virtual_time
async def test_a_relay_that_fails_to_publish_releases_the_lease() -> None:
    """A relay that fails to publish releases the lease before its backoff, because another relay may succeed."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    stream.failure = StreamUnavailable("The password is wrong.")
    relay = Relay(outbox, stream, Metrics(), shared=True, clock=now)
    await until(lambda: bool(stream.attempts), "a first try")
    await until(lambda: outbox.released, "the lease is given back")
    assert not relay._holds_lease
    await relay.aclose()


@in_virtual_time
async def test_closing_does_not_wait_for_a_stream_that_hangs() -> None:
    """If publishing hangs, closing cancels it within 3 s; the entries stay for the next relay."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    stream.hanging = True
    relay = Relay(outbox, stream, Metrics(), clock=now)
    await until(lambda: bool(stream.attempts), "a first try")
    async with asyncio.timeout(3):
        await relay.aclose()
    assert len(outbox.entries) == 1
    assert outbox.released


class NeverReleased(MemoryOutboxStore):
    """An outbox whose database does not answer when the lease is released."""

    async def release(self, owner: bytes) -> None:
        await asyncio.Event().wait()


@in_virtual_time
async def test_closing_does_not_wait_for_a_database_that_hangs() -> None:
    """If releasing the lease hangs, closing ends within 1.5 s anyway, because the lease expires by itself."""
    outbox = NeverReleased()
    relay = Relay(outbox, ListeningStream(outbox), Metrics(), clock=now)
    async with asyncio.timeout(1.5):
        await relay.aclose()


@in_virtual_time
async def test_a_batch_is_published_in_one_span_of_its_trace() -> None:
    """All rows of a ``/batch`` share one trace, which gets one span for the publishing."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    outbox = MemoryOutboxStore([history_row(n)._replace(traceparent=trace) for n in range(3)] + [history_row()])
    tracer = RecordingTracer()
    relay = Relay(outbox, ListeningStream(outbox), Metrics(), tracer=tracer, clock=now)
    await until(lambda: not outbox.entries, "the outbox is empty")
    await relay.aclose()
    assert tracer.recorded == [("publish", trace)]


@in_virtual_time
async def test_closing_publishes_the_rest_without_a_wake_up() -> None:
    """Closing publishes the whole outbox, in several batches, while the stream accepts events."""
    outbox = MemoryOutboxStore()
    stream = ListeningStream(outbox)
    relay = Relay(outbox, stream, Metrics(), clock=now)
    await asyncio.sleep(0)
    outbox.add([history_row(n) for n in range(1_200)])
    await relay.aclose()
    assert len(stream.events) == 1_200
    assert not outbox.entries


@in_virtual_time
async def test_closing_ends_although_the_stream_is_down() -> None:
    """Closing does not wait for a broker that is down; the entries stay for the next start."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    stream.failure = StreamUnavailable("The broker is down.")
    relay = Relay(outbox, stream, Metrics(), clock=now)
    await until(lambda: bool(stream.attempts), "a first try")
    async with asyncio.timeout(5):
        await relay.aclose()
    assert len(outbox.entries) == 1


def test_the_longest_outage_has_a_next_try() -> None:
    """The backoff begins with up to 0.2 s, and stays within its limit after any number of failures."""
    assert all(0 <= full_jitter(1, 30) <= 0.2 for _ in range(100))
    assert all(0 <= full_jitter(failures, 30) <= 30 for failures in (10, 1_000, 1_000_000))
    assert max(full_jitter(1_000, 30) for _ in range(100)) > 5


class NotingLeases(MemoryOutboxStore):
    """An outbox that records for how long leases are requested."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked: list[int] = []

    async def hold(self, owner: bytes, milliseconds: int) -> bool:
        self.asked.append(milliseconds)
        return await super().hold(owner, milliseconds)


@pytest.mark.anyio
async def test_the_lease_is_renewed_before_a_batch_could_outlive_it() -> None:
    """The lease lasts 10 s, and is renewed when less than 6 s are left, because publishing may take almost 6 s."""
    now = 1_000.0
    outbox = NotingLeases()
    relay = Relay(outbox, ListeningStream(outbox), Metrics(), shared=True, clock=lambda: now)
    await relay.aclose()
    outbox.asked.clear()
    now = 2_000.0
    asked = {}
    for now in (2_000.0, 2_003.9, 2_004.0, 2_004.1, 2_008.0, 2_008.2):
        assert await relay._lead()
        asked[now] = len(outbox.asked)
    assert asked == {2_000.0: 1, 2_003.9: 1, 2_004.0: 1, 2_004.1: 2, 2_008.0: 2, 2_008.2: 3}
    assert {*outbox.asked} == {10_000}
    assert PUBLISH_SECONDS < 6.0


@pytest.mark.anyio
async def test_a_relay_leads_only_while_it_holds_the_lease() -> None:
    """A relay holds the lease until just before it expires, and does not lead if the lease is refused."""
    now = 0.0
    outbox = NotingLeases()
    relay = Relay(outbox, ListeningStream(outbox), Metrics(), shared=True, clock=lambda: now)
    await relay.aclose()
    now = 1_000.0
    assert await relay._lead()
    now = 1_009.999
    assert relay._holds_lease
    now = 1_010.0
    assert not relay._holds_lease
    outbox.holder = b"another"
    assert not await relay._lead()


@in_virtual_time
async def test_a_relay_that_published_again_begins_with_a_short_backoff() -> None:
    """The backoff grows with each failure in a row, and begins anew after a published batch."""
    rows = [history_row(n) for n in range(2)]
    outbox = MemoryOutboxStore(rows[:1])
    stream = ListeningStream(outbox)
    stream.failure = StreamUnavailable("The broker is down.")
    failures: list[int] = []

    def backoff(_error: Exception, failed: int, _longest: float) -> float:
        failures.append(failed)
        return 1.0

    async with relaying(outbox, stream, backoff) as (relay, _):
        await until(lambda: len(failures) == 2, "two failures")
        stream.failure = None
        await until(lambda: not outbox.entries, "the outbox is empty")
        stream.failure = StreamUnavailable("The broker is down.")
        outbox.add(rows[1:])
        relay.wake()
        await until(lambda: len(failures) == 3, "another failure")
        stream.failure = None
        await until(lambda: not outbox.entries, "the outbox is empty again")
    assert failures == [1, 2, 1]
