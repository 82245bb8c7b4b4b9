"""Retention on stores in memory: only what is too old, above a quota or of a deleted account is removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import time

import pytest
from structlog.testing import capture_logs

from pycalc.db.base import DeletedAccount, RowSize
from pycalc.errors import StoreUnavailable
from pycalc.models.audit import AuditEntry
from pycalc.models.formats import parse_age
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow
from pycalc.models.ids import first_id_of_ms, unix_ms
from pycalc.observability.metrics import Metrics
from pycalc.services.history.retention import BATCH, Retention, prune
from tests.harness.stores import (
    USER_ID,
    MemoryAuditStore,
    MemoryDeletedAccountStore,
    MemoryHistoryStore,
    MemoryIdempotencyStore,
    MemoryUsageStore,
    history_row,
)
from tests.harness.virtual_time import in_virtual_time
from tests.harness.waiting import until

DAY = timedelta(days=1)


def aged(age: timedelta, number: int = 0) -> HistoryRow:
    """Return a calculation of this age; ``number`` distinguishes those of the same age."""
    first = first_id_of_ms(unix_ms(datetime.now(UTC) - age))
    return history_row(number)._replace(id=(int.from_bytes(first) + number).to_bytes(16))


@asynccontextmanager
async def retaining(
    history: MemoryHistoryStore,
    age: timedelta | None = None,
    quota: int | None = None,
    own: dict[bytes, int | None] | None = None,
    deleted: MemoryDeletedAccountStore | None = None,
) -> AsyncIterator[tuple[Retention, Metrics]]:
    """Run the retention task with these limits and a clock one hour ahead; ``own`` has the quotas of single users."""
    metrics = Metrics()

    async def quota_of(user_id: bytes) -> int | None:
        return (own or {}).get(user_id, quota)

    running = Retention(
        history,
        MemoryUsageStore(),
        MemoryIdempotencyStore(),
        deleted or MemoryDeletedAccountStore(history),
        metrics,
        age=age,
        quota=quota,
        quota_of=quota_of,
        clock=lambda: time() + 3_600,
    )
    try:
        yield running, metrics
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
    """An age is a number of hours, days or weeks."""
    assert parse_age(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "365", "d", "0d", "00d", "-1d", "+1d", "1.5d", "1 d", "1D", "1m", "1y", "1d ", "\u0661d", "100000d", "1d1h"],
)
def test_an_invalid_age_is_refused_with_a_message(text: str) -> None:
    """An invalid age is refused with a message that contains it and shows a valid form."""
    with pytest.raises(ValueError, match=r"is not an age such as 365d, 52w or 36h") as refusal:
        parse_age(text)
    assert repr(text) in str(refusal.value)


@in_virtual_time
async def test_what_is_older_goes_in_small_batches() -> None:
    """Old rows are deleted in small batches, whose sizes ``prune`` yields; younger rows stay."""
    history = MemoryHistoryStore()
    young = [aged(DAY - timedelta(minutes=1)), history_row()]
    history.rows = [*young, *(aged(DAY + timedelta(minutes=1), n) for n in range(2 * BATCH + 7))]
    assert [gone async for gone in prune(history, DAY)] == [BATCH, BATCH, 7]
    assert history.rows == young


@in_virtual_time
async def test_the_longest_age_reaches_before_all_time() -> None:
    """The longest valid age, about 1,900 years, deletes no row."""
    history = MemoryHistoryStore()
    history.rows = [history_row()._replace(id=bytes(16))]
    assert [gone async for gone in prune(history, parse_age("99999w"))] == []


@in_virtual_time
async def test_an_event_that_waits_keeps_its_calculation() -> None:
    """Rows whose events are in the outbox stay, whatever their age, and so do all later rows."""
    history = MemoryHistoryStore()
    history.rows = [aged(3 * DAY - n * timedelta(hours=1)) for n in range(5)]
    history.unpublished = {history.rows[2].id}
    kept = history.rows[2:]
    assert [gone async for gone in prune(history, DAY)] == [2]
    assert history.rows == kept


@in_virtual_time
async def test_a_running_service_prunes_at_its_start_and_again_later() -> None:
    """The service deletes old rows at its start and again later; a metric counts all deleted rows."""
    history = MemoryHistoryStore()
    history.rows = [history_row(), *(aged(2 * DAY, n) for n in range(BATCH + 1))]
    async with retaining(history, DAY) as (_, metrics):
        await until(lambda: len(history.rows) == 1, "the old rows are gone")
        history.rows.append(aged(2 * DAY))
        await until(lambda: len(history.rows) == 1, "the next old row is gone", step=60)
    assert metrics.registry.get_sample_value("pycalc_history_pruned_total") == BATCH + 2


@in_virtual_time
async def test_the_whole_history_is_examined_once_an_hour() -> None:
    """The history is searched for old rows at the start and then once an hour."""
    history = MemoryHistoryStore()
    async with retaining(history, DAY):
        await asyncio.sleep(60)
        history.rows.append(aged(2 * DAY))
        await asyncio.sleep(3_539.5)
        assert len(history.rows) == 1
        await asyncio.sleep(1)
        assert history.rows == []


@pytest.mark.parametrize("failure", [StoreUnavailable("The database is not available."), RuntimeError("a bug")])
@in_virtual_time
async def test_a_store_that_fails_is_tried_again(failure: Exception) -> None:
    """If the store raises any error, the service prunes again later."""
    history = MemoryHistoryStore()
    history.rows = [aged(2 * DAY)]
    history.failure = failure
    async with retaining(history, DAY):
        await asyncio.sleep(0)
        history.failure = None
        await until(lambda: not history.rows, "the old row is gone", step=60)


@in_virtual_time
@pytest.mark.parametrize("ahead_ms", [-62_400, 62_400])
async def test_a_wrong_clock_deletes_nothing(ahead_ms: int) -> None:
    """While this host's clock and the database's differ by over a minute, nothing is deleted by age."""
    history = MemoryHistoryStore()
    history.rows = [aged(91 * DAY)]
    history.clock_ahead_ms = ahead_ms
    with capture_logs() as logs:
        async with retaining(history, age=90 * DAY):
            await asyncio.sleep(3_700)
            assert len(history.rows) == 1
            history.clock_ahead_ms = ahead_ms // 2
            await asyncio.sleep(3_600)
            assert history.rows == []
    assert any("differ by 62 s, so nothing is deleted by age." in log["error"] for log in logs)


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


OTHER = bytes([9]) * 16


@in_virtual_time
async def test_a_user_keeps_the_newest_rows() -> None:
    """At the start, every user's history is trimmed to the quota, oldest rows first."""
    history = MemoryHistoryStore()
    many = [history_row(n) for n in range(2_345)]
    few = [history_row(n, user_id=OTHER) for n in range(50)]
    history.rows = [*many, *few]
    async with retaining(history, quota=50) as (_, metrics):
        await until(lambda: len(history.rows) <= 100, "all users are within the quota", step=1)
        assert sorted(history.rows) == sorted([*many[-50:], *few])
    assert metrics.registry.get_sample_value("pycalc_history_pruned_total") == 2_295


@pytest.mark.parametrize(("characters", "kept"), [(700, 90), (701, 22)])
@in_virtual_time
async def test_a_long_row_counts_as_four(characters: int, kept: int) -> None:
    """A row of more than 700 characters counts as four rows of the quota, because it takes about as much disk."""
    history = MemoryHistoryStore()
    rows = [history_row(n) for n in range(10, 100)]
    history.rows = [row._replace(result="5" * (characters - len(row.input) - len(row.digits))) for row in rows]
    newest = history.rows[-kept:]
    async with retaining(history, quota=90):
        await asyncio.sleep(60)
        assert history.rows == newest


@in_virtual_time
async def test_a_single_row_stays_whatever_it_counts() -> None:
    """A user's newest row stays, even if it alone exceeds the quota."""
    history = MemoryHistoryStore()
    history.rows = [history_row(n)._replace(result="5" * 1_000) for n in range(5)]
    newest = history.rows[-1:]
    async with retaining(history, quota=1):
        await asyncio.sleep(60)
        assert history.rows == newest


@in_virtual_time
async def test_a_busy_user_is_trimmed_after_a_tenth_of_the_quota() -> None:
    """If a user records a tenth of the quota, the user's history is trimmed at once, before the hourly pass."""
    history = MemoryHistoryStore()
    async with retaining(history, quota=1_000) as (running, _):
        await asyncio.sleep(60)
        for rows, kept in ((1_000, 1_000), (99, 1_099), (1, 1_000), (99, 1_099), (1, 1_000)):
            recorded = [history_row() for _ in range(rows)]
            await history.append(recorded)
            running.recorded(recorded)
            await asyncio.sleep(1)
            assert len(history.rows) == kept


@in_virtual_time
async def test_a_failure_for_one_user_does_not_delay_the_others() -> None:
    """If the database fails while one user's history is trimmed, the next user's is trimmed at once."""
    history = MemoryHistoryStore()
    async with retaining(history, quota=10) as (running, _):
        await asyncio.sleep(60)
        rows = [history_row(n, user_id=user_id) for user_id in (USER_ID, OTHER) for n in range(15)]
        await history.append(rows)
        sizes, failures = history.sizes, [StoreUnavailable("away")]

        async def failing_once(user_id: bytes, before: bytes | None, limit: int) -> list[RowSize]:
            if failures:
                raise failures.pop()
            return await sizes(user_id, before, limit)

        history.sizes = failing_once  # type: ignore[method-assign]
        running.recorded(rows)
        await asyncio.sleep(1)
        assert len(history.rows) == 15 + 10


@in_virtual_time
async def test_long_rows_are_measured_by_their_weight() -> None:
    """If a user records a tenth of the quota, the history is trimmed; a long row counts as four rows of this tenth."""
    history = MemoryHistoryStore()
    async with retaining(history, quota=400) as (running, _):
        await asyncio.sleep(60)
        for rows, kept in ((100, 100), (9, 109), (1, 100)):
            # 701 characters: 7 of the input {"n":0}, 1 of the number of digits, and those of the result
            recorded = [history_row()._replace(result="5" * 693) for _ in range(rows)]
            await history.append(recorded)
            running.recorded(recorded)
            await asyncio.sleep(1)
            assert len(history.rows) == kept


@in_virtual_time
async def test_the_quota_spares_unpublished_events() -> None:
    """A row above the quota stays until its event is published."""
    history = MemoryHistoryStore()
    history.rows = [history_row(n) for n in range(10)]
    history.unpublished = {history.rows[3].id}
    kept, newest = history.rows[3:], history.rows[-5:]
    async with retaining(history, quota=5):
        await asyncio.sleep(60)
        assert history.rows == kept
        history.unpublished = set()
        await asyncio.sleep(3_600)
        assert history.rows == newest


@in_virtual_time
async def test_the_quota_spares_rows_of_the_last_ten_seconds() -> None:
    """Rows of the last ten seconds stay until the next look: a row with an older id may be committed late."""
    history, moment = MemoryHistoryStore(), time()
    history.rows = [aged(timedelta(hours=1), n) for n in range(5)] + [history_row(n) for n in range(10)]
    late = history.rows.pop(5)
    newest, recent = history.rows[-3:], history.rows[5:]
    loop = asyncio.get_running_loop()
    began = loop.time()
    running = Retention(
        history,
        MemoryUsageStore(),
        MemoryIdempotencyStore(),
        MemoryDeletedAccountStore(history),
        Metrics(),
        quota=3,
        clock=lambda: moment + loop.time() - began + 1.0,
    )
    await asyncio.sleep(5)
    assert history.rows == recent
    history.rows.insert(0, late)
    running.recorded([late])
    await asyncio.sleep(1)
    assert history.rows == [late, *recent]
    await asyncio.sleep(3_600)
    assert history.rows == newest
    await running.aclose()


@in_virtual_time
async def test_users_have_quotas_of_their_own() -> None:
    """A user's own quota applies to old and new rows, even if there is no default quota; a change applies at once."""
    history = MemoryHistoryStore()
    own: dict[bytes, int | None] = {OTHER: 20}
    history.rows = [history_row(n, user_id=OTHER) for n in range(50)] + [history_row(n) for n in range(50)]
    async with retaining(history, own=own) as (running, _):
        await asyncio.sleep(60)
        assert len(history.rows) == 70
        running.learn(OTHER, 20)
        for number in range(10):
            rows = [history_row(number, user_id=OTHER), history_row(number, user_id=OTHER)]
            await history.append(rows)
            running.recorded(rows)
            await asyncio.sleep(1)
        assert len(history.rows) == 70
        own[OTHER] = 5
        running.learn(OTHER, 5)
        await asyncio.sleep(1)
        assert len(history.rows) == 55
        own[OTHER] = None
        running.learn(OTHER, None)
        rows = [history_row(number, user_id=OTHER) for number in range(30)]
        await history.append(rows)
        running.recorded(rows)
        await asyncio.sleep(7_200)
        assert len(history.rows) == 85


@in_virtual_time
async def test_without_bounds_everything_is_kept() -> None:
    """With neither an age nor a quota, no row is deleted."""
    history = MemoryHistoryStore()
    history.rows = [aged(1_000 * DAY, n) for n in range(10)]
    async with retaining(history) as (running, _):
        running.recorded(history.rows)
        await asyncio.sleep(7_200)
        assert len(history.rows) == 10


def anonymous(rows: list[HistoryRow]) -> list[bool]:
    """Return, for each row, whether its username was removed."""
    return [row.username == "(deleted)" for row in rows]


@in_virtual_time
async def test_a_history_becomes_anonymous_at_once_and_what_is_recorded_late_does_too() -> None:
    """Rows of a deleted account lose the username, even rows that are recorded after the deletion.

    Once no more such rows can follow, the account is no longer listed as deleted.
    """
    history, other = MemoryHistoryStore(), history_row(user_id=b"o" * 16)
    store = MemoryDeletedAccountStore(history)
    async with retaining(history, deleted=store) as (running, _):
        await asyncio.sleep(60)  # the first pass has ended
        history.rows = [*(history_row(n) for n in range(2 * BATCH + 7)), other]
        account = DeletedAccount(USER_ID, False, unix_ms(datetime.now(UTC) - timedelta(hours=2)) + 60_000)
        store.accounts[USER_ID] = account
        running.account_deleted(account)
        await asyncio.sleep(60)
        assert anonymous(history.rows) == [True] * (2 * BATCH + 7) + [False]
        assert store.accounts
        history.rows.append(history_row())
        store.accounts[USER_ID] = account._replace(deleted_ms=account.deleted_ms - 60_001)
        await asyncio.sleep(3_600)
        assert anonymous(history.rows) == [True] * (2 * BATCH + 7) + [False, True]
        assert not store.accounts


class BusyHistoryStore(MemoryHistoryStore):
    """A history whose user records further rows whenever the history is measured."""

    def __init__(self) -> None:
        super().__init__()
        self.running: Retention | None = None

    async def sizes(self, user_id: bytes, before: bytes | None, limit: int) -> list[RowSize]:
        if self.running is not None:
            self.running.recorded([history_row()])
        return await super().sizes(user_id, before, limit)


@in_virtual_time
async def test_a_user_who_never_stops_delays_nothing_else() -> None:
    """While one user's history is measured again and again, deleted accounts and old rows are still processed."""
    history, theirs = BusyHistoryStore(), history_row(user_id=OTHER)
    history.rows = [history_row(), theirs]
    store = MemoryDeletedAccountStore(history)
    async with retaining(history, age=DAY, quota=10, deleted=store) as (running, _):
        await asyncio.sleep(3_540)  # the next pass begins a minute later
        history.running = running
        running.recorded([history_row()])
        await asyncio.sleep(1)
        account = DeletedAccount(OTHER, False, unix_ms(datetime.now(UTC)))
        store.accounts[OTHER] = account
        running.account_deleted(account)
        await asyncio.sleep(1)
        assert anonymous(history.rows) == [False, True]
        history.rows.append(aged(2 * DAY))
        await asyncio.sleep(60)
        assert len(history.rows) == 2


class UnprunableHistoryStore(MemoryHistoryStore):
    """A history whose rows can't be deleted."""

    async def prune(self, before: bytes, limit: int, user_id: bytes | None = None) -> int:
        raise StoreUnavailable("The database does not answer in time.")


@in_virtual_time
async def test_rows_that_cannot_be_deleted_delay_nothing_else() -> None:
    """If the deletion of old rows fails, a pass still deletes idempotency keys and makes deleted accounts anonymous."""
    history, keys = UnprunableHistoryStore(), MemoryIdempotencyStore()
    history.rows = [history_row(user_id=OTHER)]
    store = MemoryDeletedAccountStore(history)
    store.accounts[OTHER] = DeletedAccount(OTHER, False, unix_ms(datetime.now(UTC)))
    keys.stored[b"k" * 16] = KeyRow(b"k" * 16, bytes(16), bytes(16), None, 0)
    running = Retention(history, MemoryUsageStore(), keys, store, Metrics(), age=DAY)
    await asyncio.sleep(60)
    assert anonymous(history.rows) == [True]
    assert not keys.stored
    await running.aclose()


@in_virtual_time
async def test_an_erased_account_leaves_nothing_once_its_events_are_delivered() -> None:
    """The rows and totals of an erased account are deleted, but a row only once its event is published."""
    history, other = MemoryHistoryStore(), history_row(user_id=b"o" * 16)
    store = MemoryDeletedAccountStore(history)
    long_ago = unix_ms(datetime.now(UTC) - 14 * DAY) - 1
    account = DeletedAccount(USER_ID, True, long_ago)
    async with retaining(history, deleted=store) as (running, metrics):
        await asyncio.sleep(60)
        rows = [aged(timedelta(minutes=5), n) for n in range(BATCH + 7)]
        history.rows, history.unpublished = [*rows, other], {rows[-1].id}
        store.accounts[USER_ID], store.totals[USER_ID] = account, BATCH + 1
        running.account_deleted(account)
        await asyncio.sleep(60)
        assert history.rows == [rows[-1], other]
        assert store.totals == {USER_ID: 0}
        assert store.accounts
        history.unpublished.clear()
        await asyncio.sleep(3_600)
        assert history.rows == [other]
        assert not store.accounts
        assert metrics.registry.get_sample_value("pycalc_history_pruned_total") == BATCH + 7


@in_virtual_time
async def test_totals_that_are_counted_late_are_erased_too() -> None:
    """If events of an erased account are counted late, the resulting usage totals are deleted within an hour."""
    history = MemoryHistoryStore()
    store = MemoryDeletedAccountStore(history)
    store.accounts[USER_ID] = DeletedAccount(USER_ID, True, unix_ms(datetime.now(UTC) - 14 * DAY) + 4_000_000)
    async with retaining(history, deleted=store):
        await asyncio.sleep(60)
        store.totals[USER_ID] = 3
        await asyncio.sleep(3_600)
        assert store.totals == {USER_ID: 0}
        assert store.accounts


@in_virtual_time
async def test_counted_events_are_forgotten_when_they_cannot_come_again() -> None:
    """The ids of counted events are deleted after 14 days, when no stream can deliver them again."""
    usage = MemoryUsageStore()
    young = aged(14 * DAY - timedelta(minutes=1)).id
    usage.counted = {young, *(aged(14 * DAY + timedelta(minutes=1), n).id for n in range(2 * BATCH + 1))}
    history = MemoryHistoryStore()
    running = Retention(history, usage, MemoryIdempotencyStore(), MemoryDeletedAccountStore(history), Metrics())
    await asyncio.sleep(60)
    assert usage.counted == {young}
    await running.aclose()


@in_virtual_time
async def test_idempotency_keys_are_forgotten_after_a_day() -> None:
    """Idempotency keys older than 24 hours are deleted in batches."""
    keys = MemoryIdempotencyStore()
    for number, minutes in enumerate([24 * 60 - 1, *[24 * 60 + 1] * (2 * BATCH + 1)]):
        created = unix_ms(datetime.now(UTC) - timedelta(minutes=minutes))
        row = KeyRow(number.to_bytes(16), bytes(16), bytes(16), None, created)
        keys.stored[row.id] = row
    history = MemoryHistoryStore()
    running = Retention(history, MemoryUsageStore(), keys, MemoryDeletedAccountStore(history), Metrics())
    await asyncio.sleep(60)
    assert list(keys.stored) == [bytes(16)]
    await running.aclose()


@pytest.mark.parametrize(("age", "kept"), [(DAY, 1), (None, 2 * BATCH + 2)])
@in_virtual_time
async def test_old_audit_entries_are_deleted(age: timedelta | None, kept: int) -> None:
    """If a largest age is set, older entries of the audit log are deleted in batches; otherwise none is deleted."""
    history, audit = MemoryHistoryStore(), MemoryAuditStore()
    entry = AuditEntry(b"", 0, "key created", "ada", "ada", None, "done", "{}")
    ids = [aged(DAY - timedelta(minutes=1)).id, *(aged(DAY + timedelta(minutes=1), n).id for n in range(2 * BATCH + 1))]
    audit.entries = [entry._replace(id=identity) for identity in ids]
    running = Retention(
        history,
        MemoryUsageStore(),
        MemoryIdempotencyStore(),
        MemoryDeletedAccountStore(history),
        Metrics(),
        audit=audit,
        audit_age=age,
    )
    with capture_logs() as logs:
        await asyncio.sleep(60)
    assert ([each.id for each in audit.entries], logs) == (ids[:kept], [])
    await running.aclose()
