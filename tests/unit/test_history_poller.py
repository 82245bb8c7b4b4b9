"""The event feed on a history in memory, into which several processes write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import time, time_ns

import pytest

from pycalc.db.base import HistoryFilter
from pycalc.errors import Overloaded, StoreUnavailable, Unauthorized
from pycalc.models.auth import Principal, Role
from pycalc.models.events import Event
from pycalc.models.history import HistoryRow
from pycalc.models.ids import first_id_of_ms
from pycalc.observability.metrics import Metrics
from pycalc.services.events.event_feed import MAX_SUBSCRIBERS_EACH, EventFeed
from pycalc.services.events.history_poller import HEARTBEAT, HEARTBEAT_SECONDS, MAX_BEHIND, HistoryPoller
from tests.harness.stores import MemoryHistoryStore, history_row
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

# The limit of all subscribers together.
TOTAL = 200

ADA, BOB = b"a" * 16, b"b" * 16


def caller(user: bytes = ADA, role: Role = Role.USER) -> Callable[[], Awaitable[Principal]]:
    """Return a function that authenticates as this caller."""

    async def identify() -> Principal:
        return Principal(user, "name", role, user, time() + 900)

    return identify


class ReadHistoryStore(MemoryHistoryStore):
    """A history that counts how often it is polled, and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.read_failure: Exception | None = None

    async def following(self, selection: HistoryFilter, after: bytes, limit: int) -> list[HistoryRow]:
        self.reads += 1
        if self.read_failure is not None:
            raise self.read_failure
        return await super().following(selection, after, limit)


class PollerAndFeed:
    """A history poller with its event feed."""

    def __init__(self, *, shared: bool, clock_ns: Callable[[], int] = time_ns) -> None:
        self.history = ReadHistoryStore()
        self.metrics = Metrics()
        self.clock_ns = clock_ns
        self.poller = HistoryPoller(self.history, self.metrics, shared=shared, clock_ns=clock_ns)
        self.feed = EventFeed(self.history, self.poller, self.metrics, TOTAL)

    async def record(self, *rows: HistoryRow) -> None:
        """Commit rows as this process would, and notify the feed."""
        await self.history.append(rows)
        self.poller.wake()

    async def begin(self, last_id: bytes | None = None, user: bytes = ADA) -> AsyncIterator[Event]:
        """Subscribe, wait for the empty event that marks the stream's position, and return the later events."""
        events = self.feed.subscribe(caller(user), last_id)
        assert (await anext(events)).payload == b""
        return events


@pytest.fixture
async def alone() -> AsyncIterator[PollerAndFeed]:
    """Run a process that has the database for itself; yield its poller and feed."""
    process = PollerAndFeed(shared=False)
    yield process
    await process.poller.aclose()


@asynccontextmanager
async def sharing() -> AsyncIterator[PollerAndFeed]:
    """Run one of several processes that share a database, in virtual time that starts at the present."""
    ahead_ns = time_ns() - int(now() * 1e9)
    process = PollerAndFeed(shared=True, clock_ns=lambda: int(now() * 1e9) + ahead_ns)
    yield process
    await process.poller.aclose()


async def take(events: AsyncIterator[Event], count: int) -> list[bytes]:
    """Return the ids of the next events."""
    async with asyncio.timeout(10):
        return [(await anext(events)).id for _ in range(count)]


async def test_subscribers_receive_their_new_rows_only(alone: PollerAndFeed) -> None:
    """All subscriptions of a user receive that user's new rows in order, but no earlier rows."""
    await alone.record(history_row(user_id=ADA))
    first, second, bobs = await alone.begin(), await alone.begin(), await alone.begin(user=BOB)
    rows = [history_row(n, user_id=ADA if n % 3 else BOB) for n in range(9)]
    await alone.record(*rows[:4])
    await alone.record(*rows[4:])
    of_ada = [row.id for row in rows if row.user_id == ADA]
    assert await take(first, 6) == await take(second, 6) == of_ada
    assert await take(bobs, 3) == [row.id for row in rows if row.user_id == BOB]


async def test_resuming_anywhere_misses_and_repeats_nothing(alone: PollerAndFeed) -> None:
    """A client that resumes after any event receives the next event, while other rows are being recorded."""
    rows = [history_row(n, user_id=ADA) for n in range(30)]
    await alone.record(*rows[:10])
    for heard in range(10):
        await alone.record(rows[10 + heard])
        events = await alone.begin(rows[heard].id)
        await alone.record(rows[20 + heard])
        alone.history.rows.sort()
        assert (await take(events, 10))[:9] == [row.id for row in rows[heard + 1 : heard + 10]]


@pytest.mark.parametrize("when", ["before", "meanwhile", "resumed"])
async def test_what_a_wrong_clock_has_dated_holds_nothing_up(alone: PollerAndFeed, when: str) -> None:
    """If a wrong clock has dated a row or a Last-Event-ID in 2106, the events of new rows are not delayed."""
    future = history_row(user_id=ADA)._replace(id=(2**32 * 1000).to_bytes(6) + b"\x70" + bytes(9))
    if when != "meanwhile":
        await alone.record(future)
    events = await alone.begin(future.id if when == "resumed" else None)
    if when == "meanwhile":
        await alone.record(future)
    rows = [history_row(n, user_id=ADA) for n in range(3)]
    for row in rows:
        await alone.record(row)
    assert await take(events, 3) == [row.id for row in rows]


@in_virtual_time
async def test_a_late_commit_of_another_process_is_delivered_in_order() -> None:
    """A row that another process commits late is delivered before all rows with higher ids, and is not lost."""
    async with sharing() as shared:
        events = await shared.begin()
        rows = [history_row(n, user_id=ADA) for n in range(4)]
        await shared.history.append([rows[1], rows[3]])
        await shared.history.append([rows[0], rows[2]])
        assert await take(events, 4) == [row.id for row in rows]
        resumed = await shared.begin(rows[1].id)
        assert await take(resumed, 2) == [rows[2].id, rows[3].id]


@in_virtual_time
async def test_a_client_may_resume_on_a_process_that_is_behind() -> None:
    """A client that resumes after an id that this process has not delivered yet receives only later events."""
    async with sharing() as shared:
        rows = [history_row(n, user_id=ADA) for n in range(3)]
        await shared.history.append(rows)
        events = await shared.begin(rows[1].id)
        assert await take(events, 1) == [rows[2].id]


async def test_a_slow_reader_is_dropped(alone: PollerAndFeed) -> None:
    """The stream of a slow reader ends after its queued events; other readers and the writer are unaffected."""
    slow, quick = await alone.begin(), await alone.begin()
    heard = 0
    for _ in range(MAX_BEHIND // 400 + 2):
        await alone.record(*(history_row(n, user_id=ADA) for n in range(400)))
        heard += len(await take(quick, 400))
    assert heard > MAX_BEHIND
    assert len([event async for event in slow]) <= MAX_BEHIND
    assert alone.metrics.registry.get_sample_value("pycalc_event_subscribers_dropped_total") == 1
    assert alone.metrics.registry.get_sample_value("pycalc_event_subscribers") == 1


async def test_nothing_is_read_without_subscribers(alone: PollerAndFeed) -> None:
    """While there are no subscribers, recording a calculation does not make the poller read the history."""
    events = await alone.begin()
    await alone.record(history_row(user_id=ADA))
    await take(events, 1)
    await events.aclose()  # type: ignore[attr-defined]  # an async generator
    reads = alone.history.reads
    await alone.record(history_row(user_id=ADA))
    await until(lambda: not alone.poller._work.is_set(), "the poller has run")
    assert alone.history.reads == reads


@pytest.mark.parametrize("failure", [StoreUnavailable("The database is not available."), RuntimeError("a bug")])
async def test_a_store_that_fails_for_a_while_ends_no_subscription(alone: PollerAndFeed, failure: Exception) -> None:
    """While the store fails, subscribers wait; afterwards they receive the rows recorded in the meantime."""
    events = await alone.begin()
    alone.history.read_failure = failure
    row = history_row(user_id=ADA)
    reads = alone.history.reads
    await alone.record(row)
    await until(lambda: alone.history.reads > reads, "a failure")
    alone.history.read_failure = None
    assert await take(events, 1) == [row.id]


async def test_the_end_of_the_service_ends_all(alone: PollerAndFeed) -> None:
    """Closing the history poller ends every subscription."""
    events = await alone.begin()
    await alone.poller.aclose()
    assert [event async for event in events] == []


@in_virtual_time
async def test_heartbeats_while_nothing_happens() -> None:
    """After each interval without an event, the feed checks the caller's rights, and yields a heartbeat or raises."""
    rights = [True] * 4  # the number of checks: for the marker and for three heartbeats

    async def identify() -> Principal:
        if not rights:
            raise Unauthorized("The session has ended.")
        rights.pop()
        return Principal(ADA, "name", Role.USER, ADA, 0.0)

    async with sharing() as shared:
        events = shared.feed.subscribe(identify, None)
        await anext(events)
        began = now()
        assert [await anext(events) for _ in range(3)] == [HEARTBEAT] * 3
        with pytest.raises(Unauthorized):
            await anext(events)
        assert now() - began == pytest.approx(4 * HEARTBEAT_SECONDS)


async def test_a_change_of_role_ends_the_stream(alone: PollerAndFeed) -> None:
    """If the caller's role changes, the stream ends, because the role determines which events are visible."""
    roles = [Role.ADMIN, Role.USER]

    async def identify() -> Principal:
        return Principal(ADA, "name", roles.pop(0) if len(roles) > 1 else roles[0], ADA, time() + 900)

    events = alone.feed.subscribe(identify, None)
    await anext(events)
    await alone.record(history_row(user_id=BOB))
    assert [event async for event in events] == []


async def test_streams_of_a_user_are_bounded(alone: PollerAndFeed) -> None:
    """A user may have twenty streams; another one is refused until one ends."""
    streams = [await alone.begin() for _ in range(MAX_SUBSCRIBERS_EACH)]
    with pytest.raises(Overloaded):
        await alone.begin()
    await alone.begin(user=BOB)
    await streams[0].aclose()  # type: ignore[attr-defined]  # an async generator
    await alone.begin()


async def test_some_users_don_t_hold_every_stream(alone: PollerAndFeed) -> None:
    """However many streams some users open, another user can still open one."""
    streams = []
    for number in range(TOTAL // MAX_SUBSCRIBERS_EACH):
        with suppress(Overloaded):
            while True:
                streams.append(await alone.begin(user=number.to_bytes(16)))
    streams.append(await alone.begin(user=BOB))


@in_virtual_time
async def test_a_client_can_resume_from_the_marker() -> None:
    """A stream begins with an empty event, the marker. A client that resumes from its id receives the later events."""
    async with sharing() as shared:
        old = history_row(user_id=ADA)._replace(id=first_id_of_ms(1_000))
        await shared.history.append([old])
        row = history_row(user_id=ADA)
        await shared.history.append([row])
        events = shared.feed.subscribe(caller(), None)
        marker = await anext(events)
        assert marker.id == old.id
        assert await take(events, 1) == [row.id]
        assert await take(await shared.begin(marker.id), 1) == [row.id]


async def test_replay_stops_when_the_rights_end(alone: PollerAndFeed) -> None:
    """A replay of missed events stops when the caller's rights end, for example when an admin is deleted."""
    rows = [history_row(n, user_id=BOB) for n in range(5)]
    await alone.record(*rows)
    asked = 0

    async def identify() -> Principal:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Unauthorized("The account does not exist any more.")
        return Principal(ADA, "name", Role.ADMIN, ADA, time() + 900)

    events = alone.feed.subscribe(identify, bytes(16))
    assert [(await anext(events)).id for _ in range(3)] == [bytes(16), rows[0].id, rows[1].id]
    with pytest.raises(Unauthorized):
        await anext(events)


@in_virtual_time
async def test_with_other_processes_an_event_is_held_back_for_2500_ms() -> None:
    """If several processes share the database, an event arrives 2.5 to 2.9 s after its id was made.

    The delay is needed because another process may take up to 2 s to commit a row with a lower id.
    """
    async with sharing() as shared:
        events = await shared.begin()
        row = history_row(user_id=ADA)
        made = shared.clock_ns()
        row = row._replace(id=first_id_of_ms(made // 1_000_000)[:6] + b"\x70" + bytes(9))
        await shared.history.append([row])
        assert await take(events, 1) == [row.id]
        assert 2.5 <= (shared.clock_ns() - made) / 1e9 <= 2.9


async def test_when_a_fast_clock_is_set_right_events_go_on() -> None:
    """If a clock was ten minutes fast and is set right, new rows with lower ids are still delivered."""
    clock = time_ns() + 600 * 10**9
    process = PollerAndFeed(shared=False, clock_ns=lambda: clock)

    def row() -> HistoryRow:
        return history_row(user_id=ADA)._replace(id=first_id_of_ms(clock // 1_000_000)[:6] + b"\x70" + bytes(9))

    events = await process.begin()
    before = row()
    await process.record(before)
    assert await take(events, 1) == [before.id]
    clock = time_ns()
    after = row()
    await process.record(after)
    assert await take(events, 1) == [after.id]
    await process.poller.aclose()
