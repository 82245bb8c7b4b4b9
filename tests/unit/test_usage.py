"""Usage totals: which events count; an invalid event does not delay valid ones."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import time_ns
from typing import Any

import pytest
from structlog.testing import capture_logs

from pycalc.db.base import DeadLetter, UsageFilter
from pycalc.errors import StoreUnavailable, StreamUnavailable
from pycalc.models.auth import Principal, Role
from pycalc.models.events import Event, event_of
from pycalc.models.history import encode_csv, encode_item
from pycalc.models.ids import first_id_of_ms
from pycalc.models.usage import Total, Use, encode_report, use_of
from pycalc.observability.metrics import Metrics
from pycalc.services.events import usage as usage_module
from pycalc.services.events.usage import UsageConsumer, UsageReader
from pycalc.services.limits.quota_keeper import QuotaKeeper
from pycalc.streaming.base import Delivery, Member, MessageBatch
from pycalc.streaming.memory import MemoryStream
from tests.harness.stores import MemoryQuotaStore, MemoryUserStore, history_row
from tests.harness.tracing import RecordingTracer
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until

ID, USER = bytes.fromhex("019aab127c0071238456426614174000"), bytes(16)
GOOD = {"operation": "pow", "cached": False, "digits": 3, "elapsed_ms": 0.02}
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def event(identity: bytes = ID, /, **changes: object) -> Event:
    """Return the event of a calculation, with some members changed."""
    return Event(identity, USER, json.dumps({"data": {**GOOD, **changes}}).encode())


BAD = {
    "infinite time": Event(ID, USER, b'{"data":{"operation":"pow","cached":false,"digits":3,"elapsed_ms":1e999}}'),
    "no time at all": event(elapsed_ms=float("nan")),
    "a time before the beginning": event(elapsed_ms=-1),
    "a time beyond 63 bits": event(elapsed_ms=1e17),
    "a time that is a text": event(elapsed_ms="1"),
    "nested without end": Event(ID, USER, b"[" * 200_000),
    "more digits than a total holds": event(digits=10**40),
    "more digits than a batch's sum holds": event(digits=10**29),
    "fewer than no digits": event(digits=-1),
    "infinitely many digits": event(digits=float("inf")),
    "a long operation": event(operation="x" * 40),
    "an operation with a NUL": event(operation="po\0w"),
    "an operation that is no text": event(operation=None),
    "an operation that would leave its quotes": event(operation='p"w'),
    "an operation without a name": event(operation=""),
    "nothing": Event(ID, USER, b"{}"),
    "a list": Event(ID, USER, b"[]"),
    "no UTF-8": Event(ID, USER, b'"\xff"'),
    "after the last day that has a date": event(first_id_of_ms(253_402_300_800_000)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_no_total_can_hold_is_no_use(bad: Event) -> None:
    """An event that is malformed, or has values that no total can hold, raises ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011  # the message does not matter
        use_of(bad)


@pytest.mark.parametrize("elapsed_ms", ["x" * 100_000, [0] * 100_000], ids=["a text", "a list"])
def test_an_event_without_a_number_takes_little_memory(elapsed_ms: object) -> None:
    """If an event's ``elapsed_ms`` is a long text or list, the event is refused, and little memory is used.

    Multiplying a text or list by 1,000 would repeat it a thousand times.
    """
    bad = event(elapsed_ms=elapsed_ms)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="not an event of a calculation"):
            use_of(bad)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_the_last_day_is_counted() -> None:
    """An event on 9999-12-31 with the most digits and the longest name can be counted, and its day can be reported."""
    use = use_of(event(first_id_of_ms(253_402_300_799_999), digits=10**24 - 1, operation="x" * 32))
    assert use == Use(first_id_of_ms(253_402_300_799_999), USER, 2_932_896, "x" * 32, False, 10**24 - 1, 20)
    assert '"day":"9999-12-31"' in encode_report([Total(use.day, use.operation, 1, 0, 3, 20)], [])


@pytest.mark.parametrize(
    ("leading", "trailing", "digits", "delivered"),
    [("3" * 20, "5" * 20, 2 * 10**17, 40), ("5", "5", 1, 1), ("12", "12", 2, 2)],
    ids=["F(10^18)", "one digit", "two digits"],
)
@pytest.mark.parametrize("form", ["row", "message"])
def test_a_summary_counts_the_digits_that_were_delivered(
    leading: str, trailing: str, digits: int, delivered: int, form: str
) -> None:
    """A summary adds to the total of digits only its first and last digits, which were delivered.

    If the two ends overlap, as in a short value, each digit counts once.
    """
    row = history_row(1)._replace(digits=str(digits), leading=leading, trailing=trailing, sha256=None, result=None)
    told = event_of(row)
    assert use_of(told if form == "row" else told._replace(content=told.payload)).digits == delivered


@pytest.mark.parametrize("form", ["row", "message"])
def test_the_day_is_the_clock_s(form: str) -> None:
    """An event counts for the day of its clock time, even if its id is 3 s ahead and belongs to the next day."""
    midnight = 1_795_305_600_000
    row = history_row(1)._replace(id=first_id_of_ms(midnight + 2_000), created_ms=midnight - 1_000)
    told = event_of(row)
    assert use_of(told if form == "row" else told._replace(content=told.payload)).day == midnight // 86_400_000 - 1
    assert '"time":"2026-11-21T23:59:59.000Z"' in told.payload.decode()
    assert '"created_at":"2026-11-21T23:59:59.000Z"' in encode_item(row)
    assert encode_csv(row).endswith(",2026-11-21T23:59:59.000Z\r\n")


class MemoryTotals:
    """Usage totals in memory that fail on demand."""

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self.failure: Exception | None = None
        # Set if all events have been counted before.
        self.known = False

    async def count(self, uses: Sequence[Use]) -> int:
        if self.failure is not None:
            raise self.failure
        self.uses += uses
        return 0 if self.known else len(uses)

    async def forget(self, before: bytes, limit: int) -> int:
        return 0

    async def totals(self, selection: UsageFilter, limit: int) -> list[Total]:
        return []


class MemoryDeadLetters:
    """Dead letters in memory."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        # How many of the next calls of ``put`` fail.
        self.failures = 0

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("The database is not available.")
        self.letters += letters

    async def size(self) -> int:
        return len(self.letters)

    async def page(self, after: int, limit: int) -> list[DeadLetter]:
        return self.letters[:limit]

    async def requeue(self, number: int) -> bool:
        return False

    async def discard(self, number: int) -> bool:
        return False


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@in_virtual_time
async def test_a_bad_event_holds_up_no_good_one(bad: Event) -> None:
    """If a batch contains an invalid event, only this one is dead-lettered; the others are counted."""
    stream, totals, letters = MemoryStream("memory://", Metrics()), MemoryTotals(), MemoryDeadLetters()
    consumer = UsageConsumer(stream, totals, letters, Metrics())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stream.publish([bad, event()])
    await consumer.aclose()
    assert totals.uses == [Use(ID, USER, 20_414, "pow", False, 3, 20)]
    assert [(letter.event_id, letter.payload) for letter in letters.letters] == [(bad.id, bad.payload[: 8 * 1024])]


@in_virtual_time
async def test_only_stored_dead_letters_are_counted() -> None:
    """The metric counts a dead letter only once it is stored, so that an alert means that a dead letter exists."""
    stream, letters, metrics = MemoryStream("memory://", Metrics()), MemoryDeadLetters(), Metrics()
    letters.failures = 5
    consumer = UsageConsumer(stream, MemoryTotals(), letters, metrics)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stream.publish([next(iter(BAD.values()))])
    await consumer.aclose()
    dead_lettered = metrics.registry.get_sample_value("pycalc_dead_letters_total", {"stage": "consumer"})
    assert (dead_lettered, len(letters.letters)) == (1, 1)


@in_virtual_time
async def test_a_batch_is_counted_in_one_span_of_its_trace() -> None:
    """All rows of a ``/batch`` share one trace, which gets one span for the counting."""
    stream, tracer = MemoryStream("memory://", Metrics()), RecordingTracer()
    consumer = UsageConsumer(stream, MemoryTotals(), MemoryDeadLetters(), Metrics(), tracer)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stream.publish([event()._replace(traceparent=TRACEPARENT)] * 3 + [event()])
    await consumer.aclose()
    assert tracer.recorded == [("count", TRACEPARENT)]


@in_virtual_time
async def test_a_consumer_that_fails_again_says_so() -> None:
    """The consumer's ping fails while counting fails, and succeeds afterwards."""
    stream, totals = MemoryStream("memory://", Metrics(), publish_seconds=0.5), MemoryTotals()
    totals.failure = RuntimeError("a bug")
    consumer = UsageConsumer(stream, totals, MemoryDeadLetters(), Metrics())
    await asyncio.sleep(0)
    await consumer.ping()

    async def published() -> bool:
        with suppress(StreamUnavailable):
            await stream.publish([event()])
            return True
        return False

    async with asyncio.timeout(20):
        while await well(consumer):
            await published()
        totals.failure = None
        while not await published():
            pass
    await until(lambda: bool(totals.uses), "the event is counted")
    assert await well(consumer)
    await consumer.aclose()


@in_virtual_time
@pytest.mark.parametrize(
    ("failure", "has_trace"),
    [(StoreUnavailable("The database is not available."), False), (RuntimeError("a bug"), True)],
    ids=["an outage", "a bug"],
)
async def test_only_an_unexpected_error_is_logged_with_its_traceback(failure: Exception, has_trace: bool) -> None:
    """If events can't be counted, the error is logged, with its traceback unless it is an outage."""
    totals, metrics = MemoryTotals(), Metrics()
    totals.failure = failure
    with capture_logs() as logs:
        consumer = UsageConsumer(RememberingStream(), totals, MemoryDeadLetters(), metrics)
        await until(lambda: failures_of(metrics) > 0, "counting fails")
        await consumer.aclose()
    entry = next(entry for entry in logs if entry["event"] == "events were not consumed")
    assert entry["error"] == str(failure)
    assert entry["exc_info"] is (failure if has_trace else None)


@in_virtual_time
async def test_a_database_that_is_back_is_used_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long outage of the database, the waiting events are counted within a second."""
    monkeypatch.setattr("random.uniform", lambda _, most: most)  # the longest backoff
    stream, totals, metrics = RememberingStream(), MemoryTotals(), Metrics()
    totals.failure = StoreUnavailable("The database is not available.")
    consumer = UsageConsumer(stream, totals, MemoryDeadLetters(), metrics)
    await until(lambda: failures_of(metrics) > 20, "it was tried many times", step=0.1)
    totals.failure, back = None, now()
    await until(lambda: stream.committed, "the batch is counted and committed")
    assert now() - back <= 1.01  # ``until`` may notice it a step later
    await consumer.aclose()


@in_virtual_time
async def test_what_was_counted_before_says_nothing_of_the_lag() -> None:
    """Events that were counted before do not enter the lag metric, because they may be a week old when read again."""
    stream, totals, metrics = MemoryStream("memory://", Metrics()), MemoryTotals(), Metrics()
    totals.known = True
    consumer = UsageConsumer(stream, totals, MemoryDeadLetters(), metrics)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stream.publish([event()])
        totals.known = False
        await stream.publish([event()])
    await consumer.aclose()
    told = metrics.registry.get_sample_value
    assert (told("pycalc_events_repeated_total"), told("pycalc_consumer_lag_seconds_count")) == (1, 1)


class RememberingStream:
    """A stream of one batch that counts its deliveries and records the commit."""

    def __init__(self) -> None:
        self.given = 0
        self.committed = False

    async def receive(self) -> MessageBatch:
        if self.committed:
            await asyncio.Event().wait()
        self.given += 1
        return MessageBatch([Delivery(event(), b"", "memory")], None)

    async def commit(self, batch: MessageBatch) -> None:
        self.committed = True

    @asynccontextmanager
    async def consume(self, group: str) -> AsyncIterator[Member]:
        yield self


@in_virtual_time
async def test_a_batch_is_kept_while_the_database_is_away() -> None:
    """During an outage of the database the consumer keeps its batch, because brokers limit the number of deliveries."""
    stream, totals, metrics = RememberingStream(), MemoryTotals(), Metrics()
    totals.failure = StoreUnavailable("The database is not available.")
    consumer = UsageConsumer(stream, totals, MemoryDeadLetters(), metrics)
    await until(lambda: failures_of(metrics) > 20, "it was tried many times", step=0.1)
    assert not await well(consumer)
    totals.failure = None
    await until(lambda: stream.committed, "the batch is committed")
    assert (stream.given, len(totals.uses)) == (1, 1)
    await consumer.aclose()


class QuietStream(RememberingStream):
    """A stream without messages, which cannot be joined during an outage."""

    def __init__(self) -> None:
        super().__init__()
        self.outage = True

    async def receive(self) -> MessageBatch:
        await asyncio.sleep(1)
        return MessageBatch([], None)

    @asynccontextmanager
    async def consume(self, group: str) -> AsyncIterator[Member]:
        if self.outage:
            raise StreamUnavailable("The broker does not answer.")
        yield self


@in_virtual_time
async def test_an_outage_is_over_although_no_event_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ping fails during an outage of the broker, and succeeds 40 s after the last failure without any event."""
    monkeypatch.setattr("random.uniform", lambda _, most: most)  # the longest backoff
    stream, metrics = QuietStream(), Metrics()
    consumer = UsageConsumer(stream, MemoryTotals(), MemoryDeadLetters(), metrics)
    await until(lambda: failures_of(metrics) > 20, "joining was tried many times", step=0.1)
    assert not await well(consumer)
    stream.outage = False
    await asyncio.sleep(39)
    assert not await well(consumer)
    await asyncio.sleep(1)
    assert await well(consumer)
    await consumer.aclose()


class FaultyStream(QuietStream):
    """A stream without messages, which fails when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.outage = False
        self.error: Exception | None = None

    async def receive(self) -> MessageBatch:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return await super().receive()


@in_virtual_time
async def test_one_failure_long_after_an_outage_does_not_fail_the_ping() -> None:
    """A single failure does not make the ping fail, even if two others preceded it at least 40 s ago.

    No event needs to arrive in between.
    """
    stream, metrics = FaultyStream(), Metrics()
    consumer = UsageConsumer(stream, MemoryTotals(), MemoryDeadLetters(), metrics)

    async def fail(times: int) -> None:
        stream.error = StreamUnavailable("The broker does not answer.")
        await until(lambda: failures_of(metrics) == times, "a failure", step=0.1)

    await fail(1)
    assert await well(consumer)
    await fail(2)
    assert not await well(consumer)
    await asyncio.sleep(40)
    await fail(3)
    assert await well(consumer)
    await consumer.aclose()


class HangingMember:
    """A consumer whose commits to the broker hang."""

    def __init__(self) -> None:
        self.committing = False

    async def receive(self) -> MessageBatch:
        return MessageBatch([Delivery(event(), b"", "memory")], None)

    async def commit(self, batch: MessageBatch) -> None:
        self.committing = True
        await asyncio.Event().wait()


class HangingStream:
    """A stream whose consumer is a HangingMember; ``left`` is set when the consumer leaves."""

    def __init__(self) -> None:
        self.member = HangingMember()
        self.left = False

    @asynccontextmanager
    async def consume(self, group: str) -> AsyncIterator[Member]:
        try:
            yield self.member
        finally:
            self.left = True


@in_virtual_time
async def test_closing_does_not_wait_for_a_commit_that_hangs() -> None:
    """If a commit hangs, closing gives it up within 3 s and leaves the consumer group."""
    stream = HangingStream()
    consumer = UsageConsumer(stream, MemoryTotals(), MemoryDeadLetters(), Metrics())
    await until(lambda: stream.member.committing, "a commit hangs")
    async with asyncio.timeout(3):
        await consumer.aclose()
    assert stream.left


class ClosingTotals(MemoryTotals):
    """Usage totals that begin to close the consumer during the first count."""

    def __init__(self) -> None:
        super().__init__()
        self.closing: asyncio.Task[None] | None = None
        self.consumer: UsageConsumer | None = None

    async def count(self, uses: Sequence[Use]) -> int:
        if self.closing is None and self.consumer is not None:
            self.closing = asyncio.create_task(self.consumer.aclose())
            await asyncio.sleep(0)
        return await super().count(uses)


class LongStream(RememberingStream):
    """A stream of three batches."""

    async def receive(self) -> MessageBatch:
        self.committed = self.given == 3
        return await super().receive()


@in_virtual_time
async def test_a_closing_consumer_receives_no_further_batch() -> None:
    """Closing finishes the current batch, and leaves the next one to other members."""
    stream, totals = LongStream(), ClosingTotals()
    totals.consumer = UsageConsumer(stream, totals, MemoryDeadLetters(), Metrics())
    await until(lambda: totals.closing is not None and totals.closing.done(), "the consumer is closed")
    assert (stream.given, len(totals.uses), stream.committed) == (1, 1, True)


class FailingWhenCancelled(RememberingStream):
    """A stream whose ``receive`` hangs, and fails when it is cancelled."""

    receiving = False

    async def receive(self) -> MessageBatch:
        self.receiving = True
        never: asyncio.Future[MessageBatch] = asyncio.get_running_loop().create_future()
        try:
            return await never
        except asyncio.CancelledError:
            raise StreamUnavailable("The broker is down.") from None


@in_virtual_time
async def test_an_error_of_the_broker_while_closing_is_not_logged() -> None:
    """If the broker fails while the consumer is closed, asyncio does not log the error as never retrieved."""
    stream, logged = FailingWhenCancelled(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    consumer = UsageConsumer(stream, MemoryTotals(), MemoryDeadLetters(), Metrics())
    await until(lambda: stream.receiving, "the consumer receives")
    await consumer.aclose()
    gc.collect()
    assert logged == []


def failures_of(metrics: Metrics) -> float:
    """Return how often counting has failed."""
    return metrics.registry.get_sample_value("pycalc_consumer_failures_total") or 0


async def well(consumer: UsageConsumer) -> bool:
    """Return whether the consumer's ping succeeds."""
    try:
        await consumer.ping()
    except StreamUnavailable:
        return False
    return True


@pytest.mark.parametrize(
    ("waiting", "put", "event_name"),
    [
        (99_999, 1, "messages dead-lettered"),
        (100_000, 0, "messages dropped, because there are too many dead letters"),
    ],
)
@in_virtual_time
async def test_foreign_messages_do_not_fill_the_disk(
    monkeypatch: pytest.MonkeyPatch, waiting: int, put: int, event_name: str
) -> None:
    """If 100,000 dead letters are stored, further invalid messages are dropped; a metric and the log report it.

    A dead letter contains at most the first 8 KiB of its message.
    """
    stream, letters, metrics = MemoryStream("memory://", Metrics()), MemoryDeadLetters(), Metrics()

    async def size() -> int:
        return waiting

    monkeypatch.setattr(letters, "size", size)
    monkeypatch.setattr(usage_module, "now_ms", lambda: 1_700_000_000_123)
    consumer = UsageConsumer(stream, MemoryTotals(), letters, metrics)
    await asyncio.sleep(0)
    with capture_logs() as logs:
        async with asyncio.timeout(5):
            await stream.publish([Event(ID, USER, b"x" * 9_000)])
        await consumer.aclose()
    told = metrics.registry.get_sample_value
    dead_lettered = told("pycalc_dead_letters_total", {"stage": "consumer"}) or 0
    assert (dead_lettered, told("pycalc_messages_dropped_total")) == (put, 1 - put)
    assert [(line["event"], line["count"]) for line in logs] == [(event_name, 1)]
    stored = [(letter.stage, letter.payload, *letter[-1:]) for letter in letters.letters]
    assert stored == [("consumer", b"x" * 8_192, 1_700_000_000_123)] * put


@in_virtual_time
async def test_a_report_has_10000_totals_at_most() -> None:
    """A report asks the store for at most 10,000 totals, and returns them."""
    asked: list[int] = []

    class NotingTotals(MemoryTotals):
        async def totals(self, selection: UsageFilter, limit: int) -> list[Total]:
            asked.append(limit)
            return [Total(20_414, "pow", 2, 1, 3, 20)]

    quotas = QuotaKeeper(MemoryQuotaStore(), [])
    reader = UsageReader(NotingTotals(), MemoryUserStore(), quotas)
    report = json.loads(await reader.report(Principal(USER, "ada", Role.USER, USER, 0.0)))
    await quotas.aclose()
    assert asked == [10_000]
    total = {"day": "2025-11-22", "operation": "pow", "count": 2, "cached": 1, "digits": 3, "compute_ms": 0.02}
    assert report == {"items": [total], "quotas": []}


@in_virtual_time
async def test_the_lag_is_the_age_of_the_oldest_event() -> None:
    """The lag of a batch is the time since its oldest calculation was recorded."""
    stream, metrics = MemoryStream("memory://", Metrics()), Metrics()
    consumer = UsageConsumer(stream, MemoryTotals(), MemoryDeadLetters(), metrics)
    await asyncio.sleep(0)
    before_ms = time_ns() // 1_000_000
    async with asyncio.timeout(5):
        await stream.publish([event(first_id_of_ms(before_ms - age)) for age in (3_000, 10_000)])
    await consumer.aclose()
    lag = metrics.registry.get_sample_value("pycalc_consumer_lag_seconds_sum")
    assert lag is not None
    assert 10 <= lag <= 10 + (time_ns() // 1_000_000 + 1 - before_ms) / 1000
