"""Exports of a history in memory: complete, consistent, bounded, and with the caller's rights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from pycalc.db.base import HistoryFilter
from pycalc.errors import Forbidden, InvalidInput, Overloaded, PycalcError, StoreUnavailable, Unauthorized
from pycalc.models.auth import Principal, Role, User
from pycalc.models.history import HistoryRow
from pycalc.models.ids import text_of_id
from pycalc.observability.metrics import Metrics
from pycalc.services.history.exports import EXPORT_FORMATS, MAX_EXPORTS, MAX_EXPORTS_EACH, ROWS_PER_READ, Exports
from pycalc.services.history.reader import HistoryReader, HistorySelection
from pycalc.services.limits.quotas import digits_quota
from tests.harness.stores import USER_ID, MemoryHistoryStore, MemoryUserStore, history_row
from tests.harness.virtual_time import in_virtual_time, now

pytestmark = pytest.mark.anyio

OTHER_ID = bytes(16)
NDJSON = EXPORT_FORMATS["application/x-ndjson"]
EVERYTHING = HistorySelection()


def accounts() -> MemoryUserStore:
    """Return a store of accounts with the calling admin, because exports check the role in the store."""
    users = MemoryUserStore()
    users.users[USER_ID] = User(USER_ID, "ada", "ada@example.com", "", Role.ADMIN, datetime(2026, 11, 22, tzinfo=UTC))
    return users


class Caller:
    """A caller whose rights can end: if ``lost`` is set, ``identify`` raises it."""

    def __init__(self, user_id: bytes = USER_ID, role: Role = Role.USER) -> None:
        self.principal = Principal(user_id, "ada", role, bytes(16), 2e9)
        self.lost: PycalcError | None = None
        self.asked = 0

    async def identify(self) -> Principal:
        """Return the caller's principal, or raise ``lost``."""
        self.asked += 1
        if self.lost is not None:
            raise self.lost
        return self.principal


@pytest.fixture
def history() -> MemoryHistoryStore:
    """Return a history that fills several pages and a part of one more, all of one user."""
    store = MemoryHistoryStore()
    store.rows = [history_row(n) for n in range(3 * ROWS_PER_READ + 5)]
    return store


@pytest.fixture
def metrics() -> Metrics:
    """Return new metrics."""
    return Metrics()


@pytest.fixture
def exports(history: MemoryHistoryStore, metrics: Metrics) -> Exports:
    """Return the service that exports this history."""
    return Exports(history, accounts(), metrics, digits_quota(metrics))


async def lines(pages: AsyncGenerator[bytes, None]) -> list[str]:
    """Return the lines of all remaining pages."""
    return b"".join([page async for page in pages]).decode().splitlines()


def ids(items: list[str]) -> list[str]:
    """Return the ids of some NDJSON lines."""
    return [json.loads(item)["id"] for item in items]


def newest_first(rows: list[HistoryRow]) -> list[str]:
    """Return the ids of rows in the order of an export."""
    return [text_of_id(row.id) for row in sorted(rows, reverse=True)]


async def test_an_export_is_what_was_there_when_it_began(exports: Exports, history: MemoryHistoryStore) -> None:
    """An export has every row once, newest first, but no row recorded after it began."""
    there = newest_first(history.rows)
    seen: list[str] = []
    async with aclosing(exports.export(Caller().identify, EVERYTHING, NDJSON)) as pages:
        async for page in pages:
            seen += ids(page.decode().splitlines())
            history.rows += [history_row(), history_row()]
    assert seen == there


async def test_a_line_is_the_item_of_the_page(exports: Exports, history: MemoryHistoryStore) -> None:
    """An NDJSON line of an export is identical to the calculation's item in a page of the history."""
    caller = Caller()
    text, _ = await HistoryReader(history, accounts()).page(caller.principal, EVERYTHING, 1_000)
    exported = await lines(exports.export(caller.identify, EVERYTHING, NDJSON))
    assert text == f'{{"items":[{",".join(exported)}],"next_cursor":null,"role":"user"}}'


@pytest.mark.parametrize(
    "limit", [1, ROWS_PER_READ - 1, ROWS_PER_READ, ROWS_PER_READ + 1, 2 * ROWS_PER_READ, 10 * ROWS_PER_READ]
)
async def test_a_limit_bounds_the_whole_export(exports: Exports, history: MemoryHistoryStore, limit: int) -> None:
    """An export with a limit has that many rows or fewer, the newest ones, also if it needs several reads."""
    exported = await lines(exports.export(Caller().identify, EVERYTHING, NDJSON, limit))
    assert ids(exported) == newest_first(history.rows)[:limit]


@pytest.mark.parametrize("rows", [0, 1, ROWS_PER_READ, 2 * ROWS_PER_READ])
async def test_an_export_of_whole_pages_ends(exports: Exports, history: MemoryHistoryStore, rows: int) -> None:
    """An export is complete if its rows exactly fill the last page, and if there are none."""
    del history.rows[rows:]
    assert ids(await lines(exports.export(Caller().identify, EVERYTHING, NDJSON))) == newest_first(history.rows)


async def test_an_item_continues_an_export_that_broke_off(exports: Exports, history: MemoryHistoryStore) -> None:
    """An export from a ``cursor``, which is a row's id or a page's cursor, has only the older rows."""
    there = newest_first(history.rows)
    identify = Caller().identify
    assert ids(await lines(exports.export(identify, HistorySelection(cursor=there[300]), NDJSON))) == there[301:]
    text, _ = await HistoryReader(history, accounts()).page(await identify(), EVERYTHING, 10)
    cursor = json.loads(text)["next_cursor"]
    assert ids(await lines(exports.export(identify, HistorySelection(cursor=cursor), NDJSON))) == there[10:]


@pytest.mark.parametrize("cursor", ["", "nonsense", "z" * 36, "019aab12-7c00-7123-8456-42661417400", "AQ", "A" * 23])
async def test_a_cursor_from_elsewhere_is_refused(exports: Exports, cursor: str) -> None:
    """A cursor that is neither an id nor a page's cursor raises InvalidInput before the first line."""
    with pytest.raises(InvalidInput):
        await lines(exports.export(Caller().identify, HistorySelection(cursor=cursor), NDJSON))


async def test_filters_apply(exports: Exports, history: MemoryHistoryStore) -> None:
    """Filters by operation and time apply. An admin exports all users' rows, a user only the user's own.

    If a user asks for the rows of another user, Forbidden is raised.
    """
    made = history_row(operation="pow")
    others = history_row(user_id=OTHER_ID)
    history.rows += [made, others]
    user, admin = Caller(), Caller(role=Role.ADMIN)
    assert ids(await lines(exports.export(user.identify, HistorySelection(operation="pow"), NDJSON))) == [
        text_of_id(made.id)
    ]
    assert (
        await lines(exports.export(user.identify, HistorySelection(until=datetime(2020, 1, 1, tzinfo=UTC)), NDJSON))
        == []
    )
    assert ids(await lines(exports.export(user.identify, EVERYTHING, NDJSON)))[0] == text_of_id(made.id)
    assert ids(await lines(exports.export(admin.identify, EVERYTHING, NDJSON)))[0] == text_of_id(others.id)
    with pytest.raises(Forbidden):
        await lines(exports.export(user.identify, HistorySelection(user="bob"), NDJSON))


def lose_the_token(caller: Caller) -> None:
    """End the caller's session."""
    caller.lost = Unauthorized("The session of this token has ended.")


def lose_the_role(caller: Caller) -> None:
    """Turn the admin into a user."""
    caller.principal = replace(caller.principal, role=Role.USER)


@pytest.mark.parametrize(
    ("role", "lose", "expected"),
    [
        (Role.USER, lose_the_token, Unauthorized),
        (Role.ADMIN, lose_the_token, Unauthorized),
        (Role.ADMIN, lose_the_role, Forbidden),
    ],
)
async def test_an_export_stops_when_the_rights_end(
    exports: Exports, role: Role, lose: Callable[[Caller], None], expected: type[PycalcError]
) -> None:
    """A caller's rights are checked before each page: if the caller has lost them, the export raises an error."""
    caller = Caller(role=role)
    pages = exports.export(caller.identify, EVERYTHING, NDJSON)
    await anext(pages)
    lose(caller)
    with pytest.raises(expected):
        await anext(pages)


async def test_a_store_that_fails_on_the_way_is_no_end(exports: Exports, history: MemoryHistoryStore) -> None:
    """If the store fails between pages, an exception is raised, so that the export does not look complete."""
    pages = exports.export(Caller().identify, EVERYTHING, NDJSON)
    await anext(pages)
    history.failure = StoreUnavailable("The database is not available.")
    with pytest.raises(StoreUnavailable):
        await anext(pages)


async def begun(stack: AsyncExitStack, exports: Exports, identify: Callable[[], Awaitable[Principal]]) -> None:
    """Begin an export that lasts until the stack is closed."""
    await anext(await stack.enter_async_context(aclosing(exports.export(identify, EVERYTHING, NDJSON))))


async def test_a_user_has_some_slots_and_gets_them_back(exports: Exports, metrics: Metrics) -> None:
    """A user's concurrent exports are limited; closing an export releases its slot."""
    value = metrics.registry.get_sample_value
    async with AsyncExitStack() as stack:
        for _ in range(MAX_EXPORTS_EACH):
            await begun(stack, exports, Caller().identify)
        with pytest.raises(Overloaded):
            await begun(stack, exports, Caller().identify)
        await begun(stack, exports, Caller(OTHER_ID).identify)
        assert value("pycalc_history_exports") == MAX_EXPORTS_EACH + 1
        assert value("pycalc_history_exports_refused_total") == 1
    assert value("pycalc_history_exports") == 0
    await lines(exports.export(Caller().identify, EVERYTHING, NDJSON))


async def test_some_users_don_t_hold_everything(exports: Exports) -> None:
    """However many exports a few users start, another user can start one."""
    async with AsyncExitStack() as stack:
        for number in range(4):
            with suppress(Overloaded):
                for _ in range(MAX_EXPORTS_EACH):
                    await begun(stack, exports, Caller(number.to_bytes(16)).identify)
        await begun(stack, exports, Caller(USER_ID).identify)


async def test_all_users_together_have_some_slots(exports: Exports) -> None:
    """The number of concurrent exports is bounded for all users together."""
    async with AsyncExitStack() as stack:
        for number in range(MAX_EXPORTS):
            await begun(stack, exports, Caller(number.to_bytes(16)).identify)
        with pytest.raises(Overloaded):
            await begun(stack, exports, Caller(USER_ID).identify)


class BusyHistoryStore(MemoryHistoryStore):
    """A history whose reads, except the first, let the event loop do 5 ms of other work."""

    def __init__(self) -> None:
        super().__init__()
        self.reads_at: list[float] = []
        # The processor time of the event loop's thread, as its clock reports it.
        self.worked = 0.0

    async def page(self, selection: HistoryFilter, before: bytes | None, limit: int) -> list[HistoryRow]:
        self.worked += 0.001 + 0.005 * bool(self.reads_at)
        self.reads_at.append(now())
        return await super().page(selection, before, limit)


@in_virtual_time
async def test_exports_make_way_for_others() -> None:
    """If the loop does other work during a read, each export waits several times as long as that work took."""
    busy = BusyHistoryStore()
    busy.rows = [history_row(n) for n in range(2 * ROWS_PER_READ + 1)]
    exports = Exports(busy, accounts(), Metrics(), digits_quota(Metrics()), lambda: busy.worked)
    await asyncio.gather(*(lines(exports.export(Caller().identify, EVERYTHING, NDJSON)) for _ in range(2)))
    pauses = [later - earlier for earlier, later in pairwise(busy.reads_at)]
    assert pauses == pytest.approx([0.0] + [8 * (0.006 - 2 * 0.001)] * 4)


async def test_a_failed_export_releases_its_slot(
    exports: Exports, history: MemoryHistoryStore, metrics: Metrics
) -> None:
    """An export that fails in the store releases its slot."""
    history.failure = StoreUnavailable("The database is not available.")
    with pytest.raises(StoreUnavailable):
        await lines(exports.export(Caller().identify, EVERYTHING, NDJSON))
    assert metrics.registry.get_sample_value("pycalc_history_exports") == 0


@in_virtual_time
async def test_an_export_makes_way_for_what_the_event_loop_has_to_do() -> None:
    """After a read, an export pauses eight times as long as the event loop did other work, at most 0.1 s.

    The export's own work is estimated as twice the processor time of the shortest read of a full page so far.
    """
    store, moments = MemoryHistoryStore(), list[float]()
    # The processor time of each read: the first is of a part of a page, so it is no estimate.
    worked = [0.001, 0.002, 0.004, 0.005, 0.001, 0.005, 0.9, 0.0]
    ticks = iter([tick for seconds in worked for tick in (0.0, seconds)])

    async def read(before: bytes | None, size: int) -> list[HistoryRow]:
        moments.append(now())
        return [history_row(n) for n in range(size if len(moments) > 1 else 1)]

    async def allow() -> None:
        pass

    exports = Exports(store, accounts(), Metrics(), digits_quota(Metrics()), lambda: next(ticks))
    await lines(exports.records(Caller().principal, allow, read, NDJSON))
    await lines(exports.records(Caller().principal, allow, read, NDJSON, limit=7 * ROWS_PER_READ))
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert pauses == pytest.approx([0, 0, 0, 0.008, 0, 0.024, 0.1])
