"""Events that the stream refuses: retried, reported, and at last dead-lettered, without delaying other events."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from time import time_ns

import pytest
from structlog.testing import capture_logs

from pycalc.db.base import OutboxRow
from pycalc.errors import StreamUnavailable
from pycalc.models.events import Event
from pycalc.observability.metrics import Metrics
from pycalc.services.events.relay import Relay
from pycalc.services.events.retry_schedule import RetrySchedule
from tests.harness.relaying import ListeningStream, relaying, ten_minutes
from tests.harness.stores import MemoryOutboxStore, history_row
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until


@in_virtual_time
async def test_a_refused_event_is_reported_while_it_is_retried() -> None:
    """Until a refused event is dead-lettered, the relay's ping fails; the reason is logged once."""
    rows = [history_row(n) for n in range(2)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    stream.refused = {rows[0].id}
    with capture_logs() as logs:
        async with relaying(outbox, stream) as (relay, _):
            await until(lambda: len(outbox.entries) == 1, "the other one has gone")
            with pytest.raises(StreamUnavailable):
                await relay.ping()
            await until(lambda: not outbox.entries, "the refused event is dead-lettered")
            await relay.ping()
    refusals = [log for log in logs if log["event"].startswith("the stream refuses events")]
    assert [(log["count"], log["reasons"]) for log in refusals] == [(1, ["too large"])]


@pytest.mark.parametrize("settled", [1, 2])
@in_virtual_time
async def test_a_refusal_that_another_relay_has_settled_is_forgotten(settled: int) -> None:
    """Refused events that another relay has published or dead-lettered are forgotten."""
    rows = [history_row(n) for n in range(2)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    stream.refused = {row.id for row in rows}
    relay = Relay(outbox, stream, Metrics(), shared=True, clock=now)
    await until(lambda: len(relay._schedule) == 2, "both events are refused")
    await outbox.remove(range(1, settled + 1))
    await until(lambda: len(relay._schedule) == 2 - settled, "the settled events are forgotten")
    await relay.aclose()


@in_virtual_time
async def test_a_relay_that_loses_the_lease_forgets_refusals() -> None:
    """A relay that loses the lease forgets its refused events, which another relay retries; its ping succeeds."""
    row = history_row()
    outbox = MemoryOutboxStore([row])
    stream = ListeningStream(outbox)
    stream.refused = {row.id}
    relay = Relay(outbox, stream, Metrics(), shared=True, clock=now)
    await until(lambda: len(relay._schedule) == 1, "the event is refused")
    outbox.holder = b"another"
    relay._held_until = 0.0
    await until(lambda: not relay._schedule, "the refused event is left to the other relay")
    await relay.ping()
    await relay.aclose()


@in_virtual_time
async def test_a_poison_event_is_dead_lettered_and_the_rest_is_published() -> None:
    """A refused event is tried at least five times and then dead-lettered, while other events are published."""
    rows = [history_row(n) for n in range(3)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    stream.refused = {rows[1].id}
    before_ms = time_ns() // 1_000_000
    async with relaying(outbox, stream) as (relay, metrics):
        await until(lambda: len(outbox.entries) == 1, "the others have gone")
        later = history_row()
        outbox.add([later])
        relay.wake()
        await until(lambda: later.id in [event.id for event in stream.events], "a later event is published")
        await until(lambda: not outbox.entries, "the poison event is dead-lettered")
        assert metrics.registry.get_sample_value("pycalc_dead_letters_total", {"stage": "relay"}) == 1
    assert [event.id for event in stream.events] == [rows[0].id, rows[2].id, later.id]
    assert sum(rows[1].id in attempt for attempt in stream.attempts) >= 5
    (letter,) = outbox.letters
    assert (letter.stage, letter.event_id, letter.reason) == ("relay", rows[1].id, "too large")
    assert before_ms <= letter.created_ms <= time_ns() // 1_000_000


@in_virtual_time
async def test_an_event_that_is_refused_for_a_time_is_published_in_the_end() -> None:
    """An event that is refused for a time, for example because of a low size limit, is published by a later try."""
    rows = [history_row(n) for n in range(2)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    stream.refused = {rows[0].id}
    async with relaying(outbox, stream):
        await until(lambda: len(outbox.entries) == 1, "the other one has gone")
        stream.refused = set()
        await until(lambda: not outbox.entries, "the refused event is published too")
    assert [event.id for event in stream.events] == [rows[1].id, rows[0].id]
    assert outbox.letters == []


@pytest.mark.parametrize(
    ("away", "expected"), [((0.5, 0.5), [0, 1, 4, 9, 16, 25]), ((0.5, 100.0), [0, 100, 103, 108, 115])]
)
def test_a_refused_event_is_tried_again_sooner_at_first(away: tuple[float, float], expected: list[float]) -> None:
    """A refused event is retried less and less often, and is given up after at least 25 s and at least five tries.

    After an outage of the broker, the tries that were missed do not follow all at once.
    """
    moment = 100.0
    schedule, entry = RetrySchedule(25.0, lambda: moment), OutboxRow(1, history_row())
    tried: list[float] = []
    hopeless: dict[int, str] = {}
    while not hopeless:
        if not away[0] <= moment - 100.0 < away[1] and [entry] in schedule.split([entry]):
            tried.append(moment - 100.0)
            hopeless = schedule.settle([entry], {entry.row.id: "too large"})
        moment += 0.5
    assert tried == expected
    assert hopeless == {1: "too large"}


def test_when_a_refused_event_is_tried_again() -> None:
    """By default, an event is tried six times in 60 s and then given up; the waits grow from 2.4 s by 4.8 s each."""
    now = 0.0
    schedule, entry = RetrySchedule(clock=lambda: now), OutboxRow(1, history_row())
    hopeless = schedule.settle([entry], {entry.row.id: "too large"})
    for next_try in (2.4, 9.6, 21.6, 38.4, 60.0):
        assert not hopeless
        now = next_try - 0.001
        assert schedule.split([entry]) == ([], [])
        now = next_try + 0.001
        assert schedule.split([entry]) == ([], [entry])
        now = next_try
        hopeless = schedule.settle([entry], {entry.row.id: "too large"})
    assert hopeless == {1: "too large"}


def test_so_many_refused_events_are_tried_again_and_no_more() -> None:
    """If 1,000 events are being retried, another refused one is given up at once, so that memory stays bounded."""
    schedule = RetrySchedule()
    entries = [OutboxRow(seq, history_row()) for seq in range(1, 1_002)]
    hopeless = schedule.settle(entries, {entry.row.id: "too large" for entry in entries})
    assert (hopeless, len(schedule)) == ({1_001: "too large"}, 1_000)


def test_a_failed_try_puts_off_the_next_one() -> None:
    """If the stream itself fails, no event is retried before the schedule's shortest wait, here 1 s, has passed.

    Retries that are due later keep their time.
    """
    now = 0.0
    schedule, early, late = (
        RetrySchedule(25.0, clock=lambda: now),
        OutboxRow(1, history_row()),
        OutboxRow(2, history_row()),
    )
    schedule.settle([late], {late.row.id: "too large"})
    now = 1.0
    schedule.settle([late], {late.row.id: "too large"})  # due at 4 s
    schedule.settle([early], {early.row.id: "too large"})  # due at 2 s
    now = 1.5
    schedule.put_off()
    due = []
    for half in range(4, 10):
        now = half / 2
        due.append((now, schedule.split([early, late])[1]))
    assert due == [
        (2.0, []),
        (2.5, [early]),
        (3.0, [early]),
        (3.5, [early]),
        (4.0, [early, late]),
        (4.5, [early, late]),
    ]


@pytest.mark.parametrize(("more", "kept"), [(False, [1]), (True, [1, 4])])
def test_refusals_that_are_settled_elsewhere(more: bool, kept: list[int]) -> None:
    """A refused event that is no longer in the outbox is forgotten, because another relay has settled it.

    If the outbox has more entries than were read, refused events after the last entry read are kept.
    """
    schedule, entries = RetrySchedule(), [OutboxRow(seq, history_row()) for seq in range(1, 5)]
    refused = [entries[0], entries[1], entries[3]]
    schedule.settle(refused, {entry.row.id: "too large" for entry in refused})
    schedule.forget_settled([entries[0], entries[2]], more=more)
    assert [entry.seq for entry in entries if entry not in schedule.split(entries)[0]] == kept


@in_virtual_time
async def test_refused_events_are_tried_again_apart_from_the_others() -> None:
    """Refused events are retried in batches of their own, because a stream may need long for a mixed batch."""
    rows = [history_row(n) for n in range(4)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    stream.refused = {rows[1].id, rows[3].id}
    async with relaying(outbox, stream) as (relay, _):
        await until(lambda: len(outbox.entries) == 2, "the others have gone")
        while not outbox.letters:
            outbox.add([history_row()])
            relay.wake()
            await until(lambda: len(outbox.entries) < 3, "a later event is published")
    with_them = [attempt for attempt in stream.attempts if stream.refused & {*attempt}]
    assert with_them[0] == [row.id for row in rows]
    assert with_them[1:] == [[rows[1].id, rows[3].id]] * (len(with_them) - 1)
    assert len(with_them) >= 5


class SlowlyRefusing(ListeningStream):
    """A stream that raises StreamUnavailable for a batch of two or more events that are all in ``refused``."""

    async def publish(self, events: Sequence[Event]) -> None:
        if len(events) > 1 and {event.id for event in events} <= self.refused:
            self.attempts.append([event.id for event in events])
            raise StreamUnavailable("It takes too long to find out what is refused.")
        await super().publish(events)


@in_virtual_time
async def test_a_failure_of_what_was_refused_concerns_no_other_event() -> None:
    """If retrying refused events fails, batches of other events are unaffected.

    The refused ones are retried in smaller batches, down to one event.
    """
    rows = [history_row(n) for n in range(3)]
    outbox = MemoryOutboxStore(rows)
    stream = SlowlyRefusing(outbox)
    stream.refused = {rows[0].id, rows[2].id}
    began = now()
    async with relaying(outbox, stream, ten_minutes) as (relay, metrics):
        await until(lambda: [rows[0].id, rows[2].id] in stream.attempts, "both refused events are tried again")
        later = [history_row(n) for n in range(60)]
        outbox.add(later)
        relay.wake()
        await until(lambda: not outbox.entries, "all are published or dead-lettered")
        assert (metrics.registry.get_sample_value("pycalc_relay_failures_total") or 0) >= 1
    assert now() - began < 600
    assert [row.id for row in later] in stream.attempts
    assert {letter.event_id for letter in outbox.letters} == stream.refused


@in_virtual_time
async def test_a_new_leader_begins_with_a_small_batch() -> None:
    """A relay that has just got the lease begins with a small batch, so that it finds a refused event quickly."""
    rows = [history_row(n) for n in range(600)]
    outbox = MemoryOutboxStore(rows)
    failing, working = ListeningStream(outbox), ListeningStream(outbox)
    failing.failure = StreamUnavailable("The password is wrong.")
    working.refused, working.most = {rows[7].id}, 100
    began = now()
    before = Relay(outbox, failing, Metrics(), shared=True, backoff=ten_minutes, clock=now)
    await until(lambda: outbox.released, "the lease is given back")
    metrics = Metrics()
    after = Relay(outbox, working, metrics, shared=True, try_seconds=0.2, backoff=ten_minutes, clock=now)
    await until(lambda: not outbox.entries, "all but the poison event have gone")
    assert [len(attempt) for attempt in working.attempts if len(attempt) > 1] == [31, 62, 124, 248, 135]
    assert metrics.registry.get_sample_value("pycalc_relay_failures_total") == 0
    assert now() - began < 600
    await before.aclose()
    await after.aclose()


@in_virtual_time
async def test_a_batch_that_is_not_taken_in_time_is_tried_in_smaller_ones() -> None:
    """If the stream takes too long to refuse one event of a batch, batches shrink; other events keep their order."""
    rows = [history_row(n) for n in range(600)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    stream.refused, stream.most = {rows[20].id}, 10
    async with relaying(outbox, stream):
        await until(lambda: not outbox.entries, "all but the poison event have gone")
    assert [len(attempt) for attempt in stream.attempts[:3]] == [31, 7, 14]
    assert [event.id for event in stream.events] == [row.id for row in rows if row is not rows[20]]
    assert [letter.event_id for letter in outbox.letters] == [rows[20].id]


@in_virtual_time
async def test_batches_grow_again() -> None:
    """Batches that shrank during an outage soon grow back to their full size."""
    rows = [history_row(n) for n in range(2_000)]
    outbox = MemoryOutboxStore(rows)
    stream = ListeningStream(outbox)
    stream.failure = StreamUnavailable("The broker is down.")
    async with relaying(outbox, stream):
        await until(lambda: len(stream.attempts) >= 2, "publishing has failed twice")
        failed = len(stream.attempts)
        stream.failure = None
        await until(lambda: not outbox.entries, "all events are published")
    sizes = [len(attempt) for attempt in stream.attempts]
    assert sizes[:2] == [31, 7]
    assert sizes[failed] <= 7
    assert all(larger == min(500, 2 * smaller) for smaller, larger in pairwise(sizes[failed:-1]))
    assert 500 in sizes[failed:]
    assert [event.id for event in stream.events] == [row.id for row in rows]
