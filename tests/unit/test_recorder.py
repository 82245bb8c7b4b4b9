"""The recorder, which commits history rows in batches, on an in-memory store that can hang and fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest

from pycalc.errors import KeysTaken, OutcomeUnknown, Overloaded, RowsRejected, StoreUnavailable
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import RequestKey
from pycalc.observability.metrics import Metrics
from pycalc.services.history.recorder import Recorder
from tests.harness.stores import MemoryHistoryStore, history_row
from tests.harness.tracing import RecordingTracer
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import found, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def recording(
    store: MemoryHistoryStore, committed: Callable[[Sequence[HistoryRow]], None] = lambda _: None, **bounds: Any
) -> AsyncIterator[Recorder]:
    """Run a recorder, and close it at the end."""
    recorder = Recorder(store, Metrics(), committed, **bounds)
    try:
        yield recorder
    finally:
        store.open.set()
        await recorder.aclose()


async def succeeds(ping: Callable[[], Awaitable[None]]) -> bool | None:
    """Return True if a ping succeeds, None if it does not."""
    with suppress(StoreUnavailable):
        await ping()
        return True
    return None


async def test_a_row_is_answered_only_after_the_store_has_it() -> None:
    """A caller of ``record`` continues only after ``append`` has returned and ``committed`` was called."""
    store, woken = MemoryHistoryStore(), asyncio.Event()
    store.open.clear()
    async with recording(store, lambda _: woken.set()) as recorder:
        row = history_row()
        answer = recorder.record([row])
        await until(lambda: store.batches == [[row]], "the row is being committed")
        assert not answer.done()
        assert not woken.is_set()
        store.open.set()
        await answer
        assert store.rows == [row]
        assert woken.is_set()


async def test_rows_that_arrive_during_a_commit_are_the_next_batch_in_order() -> None:
    """Rows that arrive during a commit form the next batch, in the order of arrival (group commit)."""
    store = MemoryHistoryStore()
    store.open.clear()
    async with recording(store) as recorder:
        rows = [history_row(n) for n in range(20)]
        first = recorder.record([rows[0]])
        await until(lambda: len(store.batches) == 1, "the first commit has begun")
        others = [recorder.record([row]) for row in rows[1:]]
        store.open.set()
        await asyncio.gather(first, *others)
        assert store.batches == [rows[:1], rows[1:]]


async def test_a_batch_has_a_largest_size() -> None:
    """A batch has at most ``batch_rows`` rows; the others follow in order."""
    store = MemoryHistoryStore()
    async with recording(store, batch_rows=8) as recorder:
        rows = [history_row(n) for n in range(20)]
        await asyncio.gather(*[recorder.record([row]) for row in rows])
        assert [len(batch) for batch in store.batches] == [8, 8, 4]
        assert store.rows == rows


async def test_a_bad_row_fails_alone() -> None:
    """For a row that can't be stored, RowsRejected is raised; the other rows of its batch are stored in order."""
    store = MemoryHistoryStore()
    async with recording(store) as recorder:
        rows = [history_row(n) for n in range(5)]
        store.refused = {rows[2].id}
        outcomes = await asyncio.gather(*[recorder.record([row]) for row in rows], return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), type(None), RowsRejected, type(None), type(None)]
        assert store.rows == [rows[0], rows[1], rows[3], rows[4]]


async def test_the_rows_of_one_call_are_one_transaction() -> None:
    """The rows of one call are stored by one ``append`` in their order, even if they are more than ``batch_rows``."""
    store = MemoryHistoryStore()
    async with recording(store, batch_rows=8) as recorder:
        rows = [history_row(n) for n in range(20)]
        await asyncio.gather(*[recorder.record(group) for group in (rows[:3], rows[3:14], rows[14:17], rows[17:])])
        assert store.batches == [rows[:3], rows[3:14], rows[14:]]


async def test_a_bad_row_fails_with_its_group_and_no_other() -> None:
    """If a row can't be stored, all rows of its call are refused; those of other calls in the commit are stored."""
    store = MemoryHistoryStore()
    async with recording(store) as recorder:
        rows = [history_row(n) for n in range(9)]
        store.refused = {rows[4].id}
        groups = (rows[:3], rows[3:6], rows[6:])
        outcomes = await asyncio.gather(*[recorder.record(group) for group in groups], return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), RowsRejected, type(None)]
        assert store.rows == rows[:3] + rows[6:]


async def test_the_bound_counts_every_row_of_a_group() -> None:
    """A group of rows that would exceed ``max_rows`` is refused as a whole; one that just fits is accepted."""
    store = MemoryHistoryStore()
    async with recording(store, max_rows=5) as recorder:
        with pytest.raises(Overloaded):
            recorder.record([history_row(n) for n in range(6)])
        await recorder.record([history_row(n) for n in range(5)])
        assert len(store.rows) == 5


async def test_an_unavailable_store_fails_the_batch_and_the_next_row_is_stored() -> None:
    """If the store is unavailable, every row of the batch is refused; once it is back, rows are stored again."""
    store = MemoryHistoryStore()
    async with recording(store) as recorder:
        store.failure = StoreUnavailable("The database is not available.")
        answers = [recorder.record([history_row(n)]) for n in range(3)]
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
        assert len(store.batches) == 1
        store.failure = None
        await recorder.record([history_row()])
        assert len(store.rows) == 1


async def test_the_ping_reports_failing_commits() -> None:
    """The ping raises StoreUnavailable after a failed commit, and succeeds after a successful one."""
    store = MemoryHistoryStore()
    async with recording(store) as recorder:
        await recorder.ping()
        store.failure = StoreUnavailable("The database is not available.")
        with pytest.raises(StoreUnavailable):
            await recorder.record([history_row()])
        with pytest.raises(StoreUnavailable):
            await recorder.ping()
        store.failure = None
        await recorder.record([history_row()])
        await recorder.ping()


async def test_the_ping_fails_until_a_write_succeeds() -> None:
    """After a failed commit, the recorder probes the store until it succeeds; meanwhile the ping fails."""
    store = MemoryHistoryStore()
    async with recording(store, probe_seconds=0.001) as recorder:
        store.failure = StoreUnavailable("The database is read-only.")
        with pytest.raises(StoreUnavailable):
            await recorder.record([history_row()])
        probes = store.probes
        await until(lambda: store.probes > probes + 10, "the recorder has made ten probes")
        with pytest.raises(StoreUnavailable):
            await recorder.ping()
        store.failure = None
        await found(partial(succeeds, recorder.ping), "a probe has succeeded")
        assert store.rows == []
        after = store.probes
        await recorder.record([history_row()])
        assert store.probes == after


async def test_a_probe_at_the_start_finds_a_read_only_history() -> None:
    """If the first probe fails, the ping fails, so that a read-only history is noticed before the first calculation."""
    store = MemoryHistoryStore()
    store.failure = StoreUnavailable("The database is read-only.")
    async with recording(store, probe_seconds=0.001) as recorder:
        await recorder.probe()
        with pytest.raises(StoreUnavailable):
            await recorder.ping()
        store.failure = None
        await found(partial(succeeds, recorder.ping), "a probe has succeeded")


async def test_an_unexpected_exception_of_the_store_is_unavailability_and_not_the_end() -> None:
    """An unexpected exception of the store becomes StoreUnavailable for the caller, and the recorder continues."""
    store = MemoryHistoryStore()
    async with recording(store) as recorder:
        store.failure = RuntimeError("a bug in the store")
        with pytest.raises(StoreUnavailable):
            await recorder.record([history_row()])
        store.failure = None
        await recorder.record([history_row()])
        assert len(store.rows) == 1


async def test_a_callers_cancellation_does_not_take_its_row_with_it() -> None:
    """If a caller is cancelled, its row is stored anyway, whether it is queued or being committed."""
    store = MemoryHistoryStore()
    store.open.clear()
    async with recording(store) as recorder:

        async def ask(number: int) -> None:
            await recorder.record([history_row(number)])

        committing = asyncio.create_task(ask(1))
        await until(lambda: len(store.batches) == 1, "the first commit has begun")
        queued = asyncio.create_task(ask(2))
        await asyncio.sleep(0)
        for caller in (committing, queued):
            caller.cancel()
        await asyncio.wait({committing, queued})
        assert committing.cancelled()
        assert queued.cancelled()
        store.open.set()
        await recorder.record([history_row(3)])
        assert [row.input for row in store.rows] == ['{"n":1}', '{"n":2}', '{"n":3}']


async def test_the_queue_is_bounded_in_rows() -> None:
    """If ``max_rows`` rows are queued, another one is refused at once with Overloaded, and never stored."""
    store = MemoryHistoryStore()
    store.open.clear()
    async with recording(store, max_rows=2) as recorder:
        first = recorder.record([history_row(0)])
        await until(lambda: len(store.batches) == 1, "the first commit has begun")
        waiting = [recorder.record([history_row(n)]) for n in (1, 2)]
        with pytest.raises(Overloaded):
            recorder.record([history_row(3)])
        store.open.set()
        await asyncio.gather(first, *waiting)
        assert [row.input for row in store.rows] == ['{"n":0}', '{"n":1}', '{"n":2}']


async def test_the_queue_is_bounded_in_bytes() -> None:
    """A row whose texts would exceed ``max_bytes`` is refused, while a small one still fits."""
    store = MemoryHistoryStore()
    async with recording(store, max_bytes=10_000) as recorder:
        with pytest.raises(Overloaded):
            recorder.record([history_row()._replace(input="9" * 10_000)])
        with pytest.raises(Overloaded):
            recorder.record([history_row()._replace(result="9" * 10_000)])
        await recorder.record([history_row()])
        assert len(store.rows) == 1


async def test_rows_behind_a_commit_that_hangs_are_withdrawn_and_stay_withdrawn() -> None:
    """A row that has waited ``max_age`` is refused and removed, so that it is not stored later."""
    store = MemoryHistoryStore()
    store.open.clear()
    async with recording(store, max_age=0.05) as recorder:
        committing = recorder.record([history_row(1)])
        await until(lambda: len(store.batches) == 1, "the first commit has begun")
        with pytest.raises(StoreUnavailable) as withdrawn:
            await recorder.record([history_row(2)])
        assert not isinstance(withdrawn.value, OutcomeUnknown)
        with pytest.raises(OutcomeUnknown):
            await committing
        store.open.set()
        await until(lambda: len(store.rows) == 1, "the first commit has ended")
        await recorder.record([history_row(3)])
        assert [row.input for row in store.rows] == ['{"n":1}', '{"n":3}']


async def test_rows_in_a_commit_that_hangs_are_answered_with_not_knowing() -> None:
    """If a commit hangs for ``max_age``, OutcomeUnknown is raised and counted for each row; the commit continues."""
    store, metrics = MemoryHistoryStore(), Metrics()
    store.open.clear()
    recorder = Recorder(store, metrics, lambda _: None, max_age=0.05)
    answers = [recorder.record([history_row(n)]) for n in range(3)]
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 3
    assert "not known" in str(outcomes[0])
    assert metrics.registry.get_sample_value("pycalc_recorder_refused_total", {"reason": "unknown"}) == 3
    store.open.set()
    await recorder.aclose()
    assert len(store.rows) == 3
    assert metrics.registry.get_sample_value("pycalc_recorder_refused_total", {"reason": "failed"}) is None


async def test_refusals_during_a_long_commit_say_what_is_known() -> None:
    """If a commit takes too long, its rows may be recorded, and later rows are not."""
    late = "^The database does not answer in time; retry"
    store = MemoryHistoryStore()
    store.open.clear()
    async with recording(store, max_age=0.05) as recorder:
        committing = recorder.record([history_row(1)])
        await until(lambda: len(store.batches) == 1, "the first commit has begun")
        with pytest.raises(StoreUnavailable, match=late):
            await recorder.record([history_row(2)])
        with pytest.raises(OutcomeUnknown, match="it is not known whether the calculation is recorded"):
            await committing
        with pytest.raises(StoreUnavailable, match=late):
            recorder.record([history_row(3)])


async def test_while_a_commit_hangs_rows_are_refused_at_once() -> None:
    """Once a commit has taken ``max_age``, new rows are refused at once, and the ping fails until the commit ends."""
    store = MemoryHistoryStore()
    store.open.clear()
    async with recording(store, max_age=0.05) as recorder:
        with pytest.raises(OutcomeUnknown):
            await recorder.record([history_row(1)])
        with pytest.raises(StoreUnavailable):
            recorder.record([history_row(2)])
        with pytest.raises(StoreUnavailable):
            await recorder.ping()
        store.open.set()
        await until(lambda: len(store.rows) == 1, "the first commit has ended")
        await recorder.record([history_row(3)])
        await recorder.ping()
        assert [row.input for row in store.rows] == ['{"n":1}', '{"n":3}']


async def test_closing_commits_what_is_queued_and_refuses_what_comes_later() -> None:
    """Every row accepted before ``aclose`` is stored when ``aclose`` returns; later rows are refused."""
    store = MemoryHistoryStore()
    recorder = Recorder(store, Metrics(), lambda _: None, batch_rows=2)
    answers = [recorder.record([history_row(n)]) for n in range(5)]
    await recorder.aclose()
    assert all(answer.done() and answer.exception() is None for answer in answers)
    assert len(store.rows) == 5
    with pytest.raises(StoreUnavailable):
        recorder.record([history_row()])


async def test_the_metrics_tell_of_commits_and_refusals() -> None:
    """Batch sizes and refusals by reason are counted; the gauges of the queue return to zero."""
    store, metrics = MemoryHistoryStore(), Metrics()
    recorder = Recorder(store, metrics, lambda _: None, max_rows=1)
    await recorder.record([history_row()])
    store.failure = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable):
        await recorder.record([history_row()])
    await recorder.aclose()
    value = metrics.registry.get_sample_value
    assert value("pycalc_commit_rows_count") == 1
    assert value("pycalc_commit_rows_sum") == 1
    assert value("pycalc_recorder_refused_total", {"reason": "failed"}) == 1
    assert value("pycalc_recorder_queue_rows") == 0
    assert value("pycalc_recorder_queue_bytes") == 0


async def test_a_commit_whose_outcome_is_unknown_is_counted_as_unknown() -> None:
    """If it is unknown whether rows are stored, as after a disk error, they count as unknown and not as failed."""
    store, metrics = MemoryHistoryStore(), Metrics()
    store.failure = OutcomeUnknown("The disk failed: it is not known whether the change was stored.")
    recorder = Recorder(store, metrics, lambda _: None)
    with pytest.raises(OutcomeUnknown):
        await recorder.record([history_row()])
    await recorder.aclose()
    value = metrics.registry.get_sample_value
    assert value("pycalc_recorder_refused_total", {"reason": "unknown"}) == 1
    assert value("pycalc_recorder_refused_total", {"reason": "failed"}) is None


async def test_a_commit_is_noted_in_each_trace_once() -> None:
    """A commit adds one span to the trace of each of its requests; a row without a trace gets none."""
    tracer = RecordingTracer()
    traced = [history_row()._replace(traceparent=f"trace {number}") for number in (1, 1, 2)]
    async with recording(MemoryHistoryStore(), tracer=tracer) as recorder:
        await asyncio.gather(recorder.record(traced[:2]), recorder.record(traced[2:]), recorder.record([history_row()]))
    assert tracer.recorded == [("commit", "trace 1"), ("commit", "trace 2")]


class ProbedHistoryStore(MemoryHistoryStore):
    """A history that notes when it is probed."""

    def __init__(self) -> None:
        super().__init__()
        self.probed: list[float] = []

    async def probe(self) -> None:
        self.probed.append(now())
        await super().probe()


@in_virtual_time
async def test_a_database_that_fails_is_probed_once_a_second() -> None:
    """After a failed commit the recorder makes one probe a second, until one succeeds."""
    store = ProbedHistoryStore()
    store.failure = StoreUnavailable("The database is not available.")
    async with recording(store) as recorder:
        began = now()
        with pytest.raises(StoreUnavailable):
            await recorder.record([history_row()])
        await until(lambda: len(store.probed) == 2, "two probes")
        store.failure = None
        await found(partial(succeeds, recorder.ping), "the third probe succeeds")
    assert store.probed == pytest.approx([began + 1, began + 2, began + 3])


async def test_a_closing_recorder_refuses_rows_and_commits_those_it_has() -> None:
    """While the last commit runs, a new row is refused at once, because it would be lost at the end of the process."""
    store = MemoryHistoryStore()
    store.open.clear()
    async with recording(store) as recorder:
        row = history_row()
        last = recorder.record([row])
        closing = asyncio.create_task(recorder.aclose())
        await until(lambda: store.batches == [[row]], "the last commit has begun")
        with pytest.raises(StoreUnavailable, match="shutting down"):
            recorder.record([history_row()])
        store.open.set()
        await asyncio.gather(closing, last)
    assert store.rows == [row]


async def test_a_taken_key_fails_alone() -> None:
    """For a request whose idempotency key is recorded already, KeysTaken is raised.

    The other requests of its commit are stored with their keys.
    """
    store = MemoryHistoryStore()
    async with recording(store) as recorder:
        rows = [history_row(n) for n in range(5)]
        keys = [RequestKey(bytes([n]) * 16, bytes(16)).row([row]) for n, row in enumerate(rows)]
        store.keys.stored = {keys[2].id: keys[2]}
        recorded = [recorder.record([row], key) for row, key in zip(rows[:4], keys, strict=False)]
        outcomes = await asyncio.gather(*recorded, recorder.record([rows[4]]), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), type(None), KeysTaken, type(None), type(None)]
        others = [rows[0], rows[1], rows[3], rows[4]]
        assert (store.rows, store.batches) == (others, [rows, others])
        assert list(store.keys.stored) == [keys[n].id for n in (2, 0, 1, 3)]


def keyed(recorder: Recorder, rows: list[HistoryRow]) -> list[asyncio.Future[None]]:
    """Record each of the rows for a request of its own, all with the same idempotency key."""
    return [recorder.record([row], RequestKey(bytes(16), bytes(16)).row([row])) for row in rows]


async def test_two_requests_with_one_key_in_a_commit_store_one() -> None:
    """Of queued requests with the same idempotency key, the first is stored; others get KeysTaken."""
    store = MemoryHistoryStore()
    async with recording(store) as recorder:
        rows = [history_row(n) for n in range(4)]
        gone, first, last = keyed(recorder, rows[:3])
        unkeyed = recorder.record(rows[3:])
        gone.cancel()
        await unkeyed
        for late in (first, last):
            with pytest.raises(KeysTaken) as taken:
                await late
            assert taken.value.ids == {bytes(16)}
        assert store.rows == [rows[0], rows[3]]
        assert store.batches == [rows[:1], rows[1:2], rows[2:], rows[3:]]  # the attempts


async def test_requests_with_one_key_whose_callers_have_all_gone_store_one() -> None:
    """If all callers with the same idempotency key hang up, the first one's row is stored, and so are other rows."""
    store = MemoryHistoryStore()
    async with recording(store) as recorder:
        rows = [history_row(n) for n in range(4)]
        for gone in keyed(recorder, rows[:2]):
            gone.cancel()
        await recorder.record([rows[2]])
        await recorder.record([rows[3]])
        assert store.rows == [rows[0], *rows[2:]]
