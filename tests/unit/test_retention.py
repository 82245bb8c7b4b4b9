"""Retention over an in-memory history: old calculations are deleted, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from pycalc.errors import StoreUnavailable
from pycalc.models.history import HistoryRow
from pycalc.models.ids import first_id_of_ms, unix_ms
from pycalc.models.times import parse_age
from pycalc.observability.metrics import Metrics
from pycalc.services.history.retention import BATCH, Retention, prune
from tests.harness.stores import MemoryHistoryStore, history_row
from tests.harness.virtual_time import in_virtual_time
from tests.harness.waiting import until

DAY = timedelta(days=1)


def aged(age: timedelta, number: int = 0) -> HistoryRow:
    """Return a calculation of this age; the number distinguishes those of one age."""
    first = first_id_of_ms(unix_ms(datetime.now(UTC) - age))
    return history_row(number)._replace(id=(int.from_bytes(first) + number).to_bytes(16))


@asynccontextmanager
async def retaining(history: MemoryHistoryStore, age: timedelta) -> AsyncIterator[Metrics]:
    """Run the retention with this age, and stop it at the end."""
    metrics = Metrics()
    running = Retention(history, age, metrics)
    try:
        yield metrics
    finally:
        await running.aclose()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h", timedelta(hours=1)),
        ("36h", timedelta(hours=36)),
        ("365d", timedelta(days=365)),
        ("52w", timedelta(weeks=52)),
        ("10000h", timedelta(hours=10_000)),
    ],
)
def test_an_age_is_a_number_of_hours_days_or_weeks(text: str, expected: timedelta) -> None:
    """An age is a number of hours, days or weeks, of at least one hour."""
    assert parse_age(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "365", "d", "0d", "00d", "-1d", "+1d", "1.5d", "1 d", "1D", "1m", "1y", "1d ", "\u0661d", "100000d", "1d1h"],
)
def test_an_invalid_age_is_refused_with_a_message(text: str) -> None:
    """An invalid age is refused with a message that shows it and the valid form."""
    with pytest.raises(ValueError, match=r"is not an age such as 365d, 52w or 36h") as refusal:
        parse_age(text)
    assert repr(text) in str(refusal.value)


@in_virtual_time
async def test_what_is_older_goes_in_small_batches() -> None:
    """Old rows are deleted in small batches, each of which is reported; younger rows stay."""
    history = MemoryHistoryStore()
    young = [aged(DAY - timedelta(minutes=1)), history_row()]
    history.rows = [*young, *(aged(DAY + timedelta(minutes=1), n) for n in range(2 * BATCH + 7))]
    assert [gone async for gone in prune(history, DAY)] == [BATCH, BATCH, 7]
    assert history.rows == young


@in_virtual_time
async def test_the_longest_age_reaches_before_all_time() -> None:
    """An age of 1,900 years is valid, and nothing is that old."""
    history = MemoryHistoryStore()
    history.rows = [history_row()._replace(id=bytes(16))]
    assert [gone async for gone in prune(history, parse_age("99999w"))] == []


@in_virtual_time
async def test_an_event_that_waits_keeps_its_calculation() -> None:
    """Calculations whose events are in the outbox stay, whatever their age, and so do later ones."""
    history = MemoryHistoryStore()
    history.rows = [aged(3 * DAY - n * timedelta(hours=1)) for n in range(5)]
    history.unpublished = {history.rows[2].id}
    kept = history.rows[2:]
    assert [gone async for gone in prune(history, DAY)] == [2]
    assert history.rows == kept


@in_virtual_time
async def test_a_running_service_prunes_at_its_start_and_again_later() -> None:
    """The service prunes at its start and again later; the metric counts both."""
    history = MemoryHistoryStore()
    history.rows = [history_row(), *(aged(2 * DAY, n) for n in range(BATCH + 1))]
    async with retaining(history, DAY) as metrics:
        await until(lambda: len(history.rows) == 1, "the old ones are gone")
        history.rows.append(aged(2 * DAY))
        await until(lambda: len(history.rows) == 1, "the next one is gone", step=60)
    assert metrics.registry.get_sample_value("pycalc_history_pruned_total") == BATCH + 2


@pytest.mark.parametrize("failure", [StoreUnavailable("The database is not available."), RuntimeError("a bug")])
@in_virtual_time
async def test_a_store_that_fails_is_tried_again(failure: Exception) -> None:
    """Whatever the store raises, pruning is tried again later."""
    history = MemoryHistoryStore()
    history.rows = [aged(2 * DAY)]
    history.failure = failure
    async with retaining(history, DAY):
        await asyncio.sleep(0)
        history.failure = None
        await until(lambda: not history.rows, "the old one is gone", step=60)


@in_virtual_time
async def test_closing_does_not_wait_for_the_rest() -> None:
    """Closing finishes the current batch, but does not begin the next one."""
    history = MemoryHistoryStore()
    history.rows = [aged(2 * DAY, n) for n in range(10 * BATCH)]
    async with asyncio.timeout(5):
        async with retaining(history, DAY):
            await until(lambda: len(history.rows) <= 9 * BATCH, "the first batch is gone")
    assert len(history.rows) >= 5 * BATCH
    assert len(history.rows) % BATCH == 0
