"""Contract tests for accounts, history, outbox and transactions, with every database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, delete, insert, text

from pycalc.db import open_database
from pycalc.db.base import Database, DeadLetter, HistoryFilter, RowSize
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlDeadLetterStore, SqlOutboxStore
from pycalc.db.password_resets import SqlPasswordResetStore
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.tables import history as history_table
from pycalc.db.tables import outbox as outbox_table
from pycalc.db.totp import SqlTotpStore
from pycalc.db.users import SqlUserStore
from pycalc.errors import Conflict, Forbidden, NotFound, PycalcError, RowsRejected, StoreUnavailable
from pycalc.models.auth import Role, User
from pycalc.models.ids import AHEAD_MS, IdSource, first_id_of_ms, now_ms
from pycalc.models.limits import OwnLimits
from tests.harness.stores import KEEPING, history_row
from tests.harness.waiting import until

T = TypeVar("T")

pytestmark = pytest.mark.anyio

ids = IdSource()
ADA, BOB = ids.next(), ids.next()
ALL = HistoryFilter()
MOMENT = datetime(2026, 11, 22, 12, 0, 0, 123_000, UTC)


def user(name: str, role: Role = Role.USER) -> User:
    """Return an account that is not stored yet."""
    return User(ids.next(), name, f"{name}@Example.com", "$2b$hash", role, MOMENT)


@pytest.fixture
def users(database: Database) -> SqlUserStore:
    """Return the store of accounts."""
    return SqlUserStore(database)


@pytest.fixture
def history(database: Database) -> SqlHistoryStore:
    """Return the store of the history."""
    return SqlHistoryStore(database)


@pytest.fixture
def outbox(database: Database) -> SqlOutboxStore:
    """Return the store of the outbox."""
    return SqlOutboxStore(database)


async def test_what_is_under_way_is_counted(database: Database) -> None:
    """The database counts a read as in progress only while it runs."""
    counted: list[Mapping[str, int]] = []
    idle = dict(database.queue_lengths())
    assert {*idle.values()} == {0}
    await database.read(lambda connection: counted.append(dict(database.queue_lengths())))
    assert counted == [{**idle, "read": 1}]
    await until(lambda: database.queue_lengths() == idle, "all queues are empty")


class TestUsers:
    """The store of accounts."""

    async def test_an_account_is_found_by_name_and_id(self, users: SqlUserStore) -> None:
        """An account is found by its name in any letter case and by its id; an unknown one is None."""
        ada = user("Ada")
        await users.add(ada)
        assert await users.by_id(ada.id) == ada
        assert await users.by_username("ada") == await users.by_username("ADA") == ada
        assert await users.by_id(BOB) is None
        assert await users.by_username("bob") is None

    async def test_an_account_keeps_its_own_limits(self, users: SqlUserStore) -> None:
        """Setting some limits keeps the others, and None removes a limit; a change of the role keeps all limits."""
        await users.add(user("ada"))
        first = OwnLimits(rate_limit="60/minute; 1000/day", history=10**12)
        assert (await users.change("ada", None, None, first)).limits == first
        changed = await users.change("ada", None, None, OwnLimits(compute="300s/hour", digits="0", rate_limit=None))
        assert changed.limits == OwnLimits(compute="300s/hour", digits="0", history=10**12)
        assert await users.change("ada", Role.ADMIN, None) == replace(changed, role=Role.ADMIN)
        assert await users.by_username("ada") == replace(changed, role=Role.ADMIN)

    @pytest.mark.parametrize(("name", "email"), [("ADA", "b@example.com"), ("bob", "aDa@example.COM")])
    async def test_a_name_and_an_address_belong_to_one(self, users: SqlUserStore, name: str, email: str) -> None:
        """A second account with the same name or address, in any letter case, raises Conflict and is not stored."""
        ada = user("ada")
        await users.add(ada)
        rival = User(ids.next(), name, email, "$2b$hash", Role.USER, MOMENT)
        with pytest.raises(Conflict):
            await users.add(rival)
        assert await users.by_id(rival.id) is None
        assert await users.by_id(ada.id) == ada

    async def test_a_deleted_account_leaves_its_name_to_the_history(self, users: SqlUserStore) -> None:
        """A deleted account's name selects its history until another account takes the name."""
        first, second = user("ada"), user("Ada")
        await users.add(first)
        assert await users.delete("ADA", KEEPING) == first
        assert await users.by_id(first.id) is None
        assert await users.id_of("ada") == first.id
        await users.add(second)
        assert await users.id_of("aDA") == second.id
        await users.delete("ada", KEEPING)
        assert await users.id_of("ada") == second.id
        assert await users.id_of("bob") is None

    @pytest.mark.parametrize("name", ["a\x00b", "a\ud800b", "?"])
    async def test_a_name_that_no_account_can_have_is_nobodys(self, users: SqlUserStore, name: str) -> None:
        """A name that no account can have is not found, and causes no database error."""
        await users.add(user("ada"))
        assert await users.by_username(name) is None
        assert await users.id_of(name) is None
        with pytest.raises(NotFound):
            await users.delete(name, KEEPING)

    async def test_what_is_not_there_can_not_be_deleted(self, users: SqlUserStore) -> None:
        """Deleting an unknown account raises NotFound, and reserves no name."""
        with pytest.raises(NotFound):
            await users.delete("ada", KEEPING)
        assert await users.id_of("ada") is None

    async def test_the_last_admin_stays(self, users: SqlUserStore) -> None:
        """One of two admins can be deleted, the last one can't."""
        await users.add(user("ada", Role.ADMIN))
        await users.add(user("bob", Role.ADMIN))
        await users.delete("ada", KEEPING)
        with pytest.raises(Conflict):
            await users.delete("bob", KEEPING)
        assert await users.has_admin()

    async def test_the_bootstrap_token_admits_one(self, users: SqlUserStore) -> None:
        """Of twenty simultaneous registrations with the bootstrap token exactly one succeeds and uses it up."""
        assert await users.offer_bootstrap(bytes(32))
        outcomes = await asyncio.gather(
            *(users.add(user(f"admin{n}", Role.ADMIN), burn_bootstrap=bytes(32)) for n in range(20)),
            return_exceptions=True,
        )
        assert sum(outcome is None for outcome in outcomes) == 1
        assert sum(isinstance(outcome, Forbidden) for outcome in outcomes) == 19
        assert await users.bootstrap_hash() is None
        assert not await users.offer_bootstrap(b"1" * 32)

    @pytest.mark.parametrize("how", ["demoted", "disabled", "deleted"])
    async def test_an_admin_is_made_by_one_who_still_is(self, users: SqlUserStore, how: str) -> None:
        """An admin who was demoted, disabled or deleted since authentication can't create an admin."""
        ada = user("ada", Role.ADMIN)
        await users.add(ada)
        await users.add(user("bob", Role.ADMIN), granted_by=ada.id)
        if how == "deleted":
            await users.delete("ada", KEEPING)
        else:
            await users.change("ada", Role.USER if how == "demoted" else None, how == "disabled")
        with pytest.raises(Forbidden):
            await users.add(user("eve", Role.ADMIN), granted_by=ada.id)
        assert await users.by_username("eve") is None

    async def test_accounts_are_changed_by_one_who_still_is_an_admin(
        self, database: Database, users: SqlUserStore
    ) -> None:
        """An admin who was demoted since authentication can't act on another account.

        Changing or deleting the account, resetting its password or second factor, and ending its sessions raise
        Forbidden.
        """
        ada, bob = user("ada", Role.ADMIN), user("bob")
        for account in (ada, user("ida", Role.ADMIN), bob):
            await users.add(account)
        stores = SqlPasswordResetStore(database), SqlTotpStore(database), SqlSessionStore(database)
        resets, factors, sessions = stores
        await resets.offer(bob.id, bytes(32), 1, ada.id)
        await sessions.close_all(bob.id, ada.id)
        await users.change("bob", None, True, granted_by=ada.id)
        await users.change("ada", Role.USER, None)
        for act in (
            users.change("bob", Role.ADMIN, False, granted_by=ada.id),
            users.delete("bob", KEEPING, granted_by=ada.id),
            resets.offer(bob.id, b"1" * 32, 1, ada.id),
            factors.remove(bob.id, None, ada.id),
            sessions.close_all(bob.id, ada.id),
        ):
            with pytest.raises(Forbidden):
                await act
        assert await users.by_username("bob") == replace(bob, disabled=True)

    async def test_a_refused_registration_does_not_burn_the_token(self, users: SqlUserStore) -> None:
        """A registration that fails because of its name, or of a wrong token, leaves the bootstrap token valid."""
        await users.add(user("ada"))
        await users.offer_bootstrap(bytes(32))
        with pytest.raises(Conflict):
            await users.add(user("ada", Role.ADMIN), burn_bootstrap=bytes(32))
        assert await users.bootstrap_hash() == bytes(32)
        with pytest.raises(Forbidden):
            await users.add(user("eve", Role.ADMIN), burn_bootstrap=b"1" * 32)
        assert await users.by_username("eve") is None
        assert await users.bootstrap_hash() == bytes(32)

    async def test_instances_that_start_together_offer_one_bootstrap_token(self, users: SqlUserStore) -> None:
        """If instances start together on one database, only one of them offers a bootstrap token."""
        offers = await asyncio.gather(*(users.offer_bootstrap(bytes([n]) * 32, replace=False) for n in range(5)))
        assert sum(offers) == 1
        assert await users.bootstrap_hash() == bytes([offers.index(True)]) * 32

    async def test_a_new_offer_replaces_the_old(self, users: SqlUserStore) -> None:
        """A new bootstrap token replaces the old one."""
        assert await users.bootstrap_hash() is None
        await users.offer_bootstrap(bytes(32))
        await users.offer_bootstrap(b"1" * 32)
        assert await users.bootstrap_hash() == b"1" * 32


class TestHistory:
    """The store of the history, and the outbox that it fills."""

    async def test_a_row_comes_back_as_it_went_in(self, history: SqlHistoryStore, outbox: SqlOutboxStore) -> None:
        """Every column of a row keeps its value and type, including long and missing texts, also in the outbox."""
        assert await outbox.pending(10) == []
        rows = [
            history_row(1),
            history_row(2)._replace(result=None, sha256=None, exact=False, cached=True, digits="9" * 40),
            history_row(3)._replace(input='{"x":"' + "9" * 10_000 + '"}', result="-" + "9" * 1_000, elapsed_us=2**40),
            history_row(4)._replace(input='{"x":"\\u2028"}', leading="", traceparent="00-1-2-01", created_ms=2**40),
        ]
        await history.append(rows)
        assert await history.page(ALL, None, 10) == rows[::-1]
        assert [await history.find(row.id) for row in rows] == rows
        assert [entry.row for entry in await outbox.pending(10)] == rows
        assert await history.find(ids.next()) is None

    async def test_rows_and_events_are_stored_together_in_order(
        self, history: SqlHistoryStore, outbox: SqlOutboxStore
    ) -> None:
        """A batch too long for one statement is stored in order, in the history and in the outbox."""
        rows = [history_row(n) for n in range(1_150)]
        await history.append(rows[:1_100])
        await history.append(rows[1_100:])
        pending = await outbox.pending(2_000)
        assert [entry.row for entry in pending] == rows
        assert all(a.seq < b.seq for a, b in pairwise(pending))
        assert await outbox.backlog() == 1_150

    async def test_a_batch_is_stored_whole_or_not_at_all(
        self, history: SqlHistoryStore, outbox: SqlOutboxStore
    ) -> None:
        """A batch with an id that exists raises RowsRejected, and leaves nothing in the history or the outbox."""
        known = history_row()
        await history.append([known])
        with pytest.raises(RowsRejected):
            await history.append([*(history_row(n) for n in range(100)), known])
        with pytest.raises(RowsRejected):
            await history.append([*(history_row(n) for n in range(300)), known])
        assert await history.page(ALL, None, 10) == [known]
        assert await outbox.backlog() == 1

    @pytest.mark.parametrize("changes", [{"input": "\ud800"}, {"elapsed_us": 2**63}], ids=["no UTF-8", "64 bits"])
    async def test_a_value_that_no_database_can_store_is_rejected(
        self, history: SqlHistoryStore, outbox: SqlOutboxStore, changes: dict[str, Any]
    ) -> None:
        """A lone surrogate or an integer beyond 63 bits raises RowsRejected, and no row of its batch is stored."""
        with pytest.raises(RowsRejected):
            await history.append([history_row(), history_row()._replace(**changes)])
        assert await history.page(ALL, None, 10) == []
        assert await outbox.backlog() == 0

    async def test_after_a_batch_that_can_not_be_stored_others_can(
        self, history: SqlHistoryStore, outbox: SqlOutboxStore
    ) -> None:
        """After a batch of any size was rejected, the next batch is stored whole."""
        for count in (3, 300):
            rows = [history_row(number) for number in range(count)]
            with pytest.raises(RowsRejected):
                await history.append([*rows, rows[0]])
            await history.append(rows)
            assert await history.page(ALL, None, 1_000) == rows[::-1]
            assert await outbox.backlog() == count
            await outbox.remove([entry.seq for entry in await outbox.pending(1_000)])
            assert await history.prune(ids.next(), 1_000) == count

    async def test_pages_follow_each_other_without_gap_or_duplicate(self, history: SqlHistoryStore) -> None:
        """If a row is added after the first page was read, the pages have each older row once, newest first."""
        rows = [history_row(n) for n in range(25)]
        await history.append(rows)
        seen = await history.page(ALL, None, 10)
        await history.append([history_row()])
        while page := await history.page(ALL, seen[-1].id, 10):
            seen += page
        assert seen == rows[::-1]

    async def test_filters_select(self, history: SqlHistoryStore) -> None:
        """The rows of a page satisfy all its filters: users, operation, and ids between ``above`` and ``until``."""
        rows = [
            history_row(0, user_id=ADA, operation="fibonacci"),
            history_row(1, user_id=BOB, operation="fibonacci"),
            history_row(2, user_id=ADA, operation="pow"),
            history_row(3, user_id=BOB, operation="pow"),
        ]
        await history.append(rows)

        async def found(selection: HistoryFilter) -> list[int]:
            return sorted(rows.index(row) for row in await history.page(selection, None, 10))

        assert await found(HistoryFilter(user_ids=(ADA,))) == [0, 2]
        assert await found(HistoryFilter(user_ids=(ADA, BOB))) == [0, 1, 2, 3]
        assert await found(HistoryFilter(user_ids=())) == []
        assert await found(HistoryFilter(operation="pow")) == [2, 3]
        assert await found(HistoryFilter(above=rows[1].id)) == [2, 3]
        assert await found(HistoryFilter(until=rows[1].id)) == [0]
        assert await found(HistoryFilter(user_ids=(BOB,), operation="pow", above=rows[1].id)) == [3]

    async def test_time_filters_use_created_ms(self, history: SqlHistoryStore, outbox: SqlOutboxStore) -> None:
        """Time filters use a row's ``created_ms``, or the time in its id if ``created_ms`` is None."""

        def lowest_id(ms: int) -> bytes:  # a UUID of version 7
            return first_id_of_ms(ms)[:6] + b"\x70\x00\x80" + bytes(7)

        start = 1_800_000_000_000
        times = [(start + 4_000, start), (start + 4_100, start + 1_000), (start + 4_200, start + 4_200)]
        rows = [history_row(n)._replace(id=lowest_id(at), created_ms=clock) for n, (at, clock) in enumerate(times)]
        rows.append(history_row(3)._replace(id=lowest_id(start + 4_300)))
        await history.append(rows)
        assert [entry.row for entry in await outbox.pending(10)] == rows

        async def found(since: int | None, until: int | None) -> list[int]:
            ids_since = None if since is None else first_id_of_ms(since)
            ids_until = None if until is None else first_id_of_ms(until + AHEAD_MS)
            selection = HistoryFilter(None, None, ids_since, ids_until, since, until)
            return sorted(rows.index(row) for row in await history.page(selection, None, 10))

        assert await found(start, None) == [0, 1, 2, 3]
        assert await found(start + 1, None) == [1, 2, 3]
        assert await found(start + 4_300, None) == [3]
        assert await found(None, start + 1_001) == [0, 1]
        assert await found(start + 1_000, start + 4_300) == [1, 2]
        assert await found(None, start + 4_301) == [0, 1, 2, 3]

    async def test_a_cursor_and_the_filters_bounds_all_hold(self, history: SqlHistoryStore) -> None:
        """The rows of a page lie within its cursor, ``above`` and ``until``, without these."""
        rows = [history_row(n) for n in range(8)]
        ids_of = [row.id for row in rows]
        await history.append(rows)
        assert await history.page(HistoryFilter(until=ids_of[3]), ids_of[5], 10) == rows[2::-1]
        assert await history.page(HistoryFilter(until=ids_of[5]), ids_of[3], 10) == rows[2::-1]
        assert await history.page(HistoryFilter(above=ids_of[0]), ids_of[3], 10) == rows[2:0:-1]
        assert await history.following(HistoryFilter(above=ids_of[3]), ids_of[1], 10) == rows[4:]
        assert await history.following(HistoryFilter(above=ids_of[4]), ids_of[4], 10) == rows[5:]
        assert await history.following(HistoryFilter(above=ids_of[1]), ids_of[4], 10) == rows[5:]
        assert await history.following(HistoryFilter(until=ids_of[6]), ids_of[4], 10) == rows[5:6]

    async def test_following_is_oldest_first(self, history: SqlHistoryStore) -> None:
        """``following`` returns rows after an id, in the order of ids, up to the limit."""
        rows = [history_row(n, user_id=ADA) for n in range(5)]
        await history.append([*rows, history_row(user_id=BOB)])
        assert await history.following(HistoryFilter(user_ids=(ADA,)), rows[1].id, 2) == rows[2:4]
        assert await history.following(HistoryFilter(user_ids=(ADA,)), rows[4].id, 2) == []

    async def test_a_page_of_several_users_is_in_order(self, history: SqlHistoryStore) -> None:
        """A page of several users has the rows of all of them in order, newest or oldest first, up to the limit."""
        rows = [history_row(n, user_id=ADA if n % 3 else BOB) for n in range(12)]
        await history.append([*rows, history_row(user_id=ids.next())])
        both = HistoryFilter(user_ids=(ADA, BOB))
        assert await history.page(both, None, 5) == rows[:6:-1]
        assert await history.page(both, rows[4].id, 10) == rows[3::-1]
        assert await history.following(both, rows[4].id, 5) == rows[5:10]

    async def test_the_clock_of_the_database_is_read(self, history: SqlHistoryStore) -> None:
        """The clock of a database on this host shows the time of this host, exact to a second."""
        before = now_ms()
        moment = await history.clock_ms()
        assert before - 1_000 <= moment <= now_ms() + 1_000

    async def test_pruning_takes_the_oldest(self, history: SqlHistoryStore, outbox: SqlOutboxStore) -> None:
        """Pruning deletes the oldest rows with ids below a bound, up to a limit, and returns their number."""
        rows = [history_row(n) for n in range(10)]
        await history.append(rows)
        await outbox.remove([entry.seq for entry in await outbox.pending(100)])
        assert await history.prune(rows[7].id, 5) == 5
        assert await history.page(ALL, None, 100) == rows[:4:-1]
        assert await history.prune(rows[7].id, 5) == 2
        assert await history.prune(rows[7].id, 5) == 0
        assert await history.page(ALL, None, 100) == rows[:6:-1]

    async def test_pruning_stops_at_an_event_that_is_not_published(
        self, history: SqlHistoryStore, outbox: SqlOutboxStore
    ) -> None:
        """Pruning stops at a row whose event is unpublished, because the event is made from the row."""
        rows = [history_row(n) for n in range(6)]
        await history.append(rows)
        seqs = {entry.row.id: entry.seq for entry in await outbox.pending(100)}
        await outbox.remove([seqs[row.id] for row in rows if row is not rows[2]])
        assert await history.prune(ids.next(), 100) == 2
        assert await history.prune(ids.next(), 100) == 0
        assert [entry.row for entry in await outbox.pending(100)] == [rows[2]]
        await outbox.remove([seqs[rows[2].id]])
        assert await history.prune(ids.next(), 100) == 4
        assert await history.page(ALL, None, 100) == []

    async def test_pruning_a_user_leaves_the_others(self, history: SqlHistoryStore, outbox: SqlOutboxStore) -> None:
        """Pruning one user's rows deletes that user's oldest ones only."""
        rows = [history_row(n, user_id=ADA if n % 2 else BOB) for n in range(10)]
        await history.append(rows)
        await outbox.remove([entry.seq for entry in await outbox.pending(100)])
        assert await history.prune(rows[8].id, 3, BOB) == 3
        assert await history.prune(rows[8].id, 3, BOB) == 1
        assert await history.prune(rows[8].id, 3, BOB) == 0
        assert await history.page(ALL, None, 100) == [row for row in rows[::-1] if row.user_id == ADA or row == rows[8]]

    async def test_pruning_spares_what_is_requeued_meanwhile(
        self, database: Database, history: SqlHistoryStore, outbox: SqlOutboxStore
    ) -> None:
        """Pruning keeps a row whose event is a dead letter, or is requeued while the pruning runs.

        The row is kept even if its event gets a lower outbox number than older entries have. Such numbers occur:
        PostgreSQL assigns numbers before the commit, and SQLite reuses the numbers of deleted entries.
        """
        letters, rows = SqlDeadLetterStore(database), [history_row(n) for n in range(5)]
        await history.append(rows)
        entries = await outbox.pending(100)
        for entry in entries[1:3]:
            await outbox.dead_letter({entry.seq: DeadLetter(0, "relay", entry.row.id, "", "", b"", 0)})
        await outbox.remove([entries[0].seq, entries[3].seq])
        _, requeued = await letters.page(0, 10)
        reading = database.read

        async def read_before_the_requeue(work: Callable[[Connection], T]) -> T:
            seen = await reading(work)
            if await letters.requeue(requeued.number):
                await outbox.remove([entry.seq for entry in await outbox.pending(100) if entry.row == rows[2]])
                numbered = insert(outbox_table).values(seq=entries[0].seq, history_id=rows[2].id)
                await database.write(lambda connection: connection.execute(numbered))
            return seen

        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(database, "read", read_before_the_requeue)
            assert await history.prune(ids.next(), 100) == 2
        assert await history.page(ALL, None, 100) == [rows[4], rows[2], rows[1]]
        assert [entry.row for entry in await outbox.pending(100)] == [rows[2], rows[4]]

    async def test_pruning_spares_what_is_refilled_meanwhile(
        self, database: Database, history: SqlHistoryStore, outbox: SqlOutboxStore
    ) -> None:
        """Pruning keeps a row whose lost event is added to the outbox while the pruning runs."""
        rows = [history_row(n) for n in range(4)]
        await history.append(rows)
        await outbox.remove([entry.seq for entry in await outbox.pending(100)])
        writing = database.write

        async def write_after_the_refill(work: Callable[[Connection], T]) -> T:
            patching.undo()
            assert await outbox.refill(rows[0].id, 2) == (2, rows[2].id)
            return await writing(work)

        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(database, "write", write_after_the_refill)
            assert await history.prune(ids.next(), 100) == 2
        assert await history.page(ALL, None, 100) == rows[2:0:-1]
        assert [entry.row for entry in await outbox.pending(100)] == rows[1:3]

    async def test_the_users_of_a_history_and_the_sizes_of_their_rows(self, history: SqlHistoryStore) -> None:
        """Each user with rows is found once; the sizes of a user's rows are returned newest first, in pages."""
        users = sorted((ADA, BOB))
        rows = [history_row(n, user_id=ADA) for n in range(8, 12)]
        long = history_row(0, user_id=ADA)._replace(result=None, digits="1" * 30)
        await history.append([*rows, long, history_row(user_id=BOB)])
        assert [await history.user_after(each) for each in (bytes(16), *users)] == [*users, None]
        sizes = [RowSize(long.id, 7 + 30), *(RowSize(row.id, len(row.input) + 2 + 1) for row in rows[::-1])]
        assert await history.sizes(ADA, None, 3) == sizes[:3]
        assert await history.sizes(ADA, sizes[2].id, 3) == sizes[3:]
        assert await history.sizes(ids.next(), None, 3) == []

    async def test_several_may_prune_at_once(self, history: SqlHistoryStore, outbox: SqlOutboxStore) -> None:
        """Concurrent prunings delete each row with an id below a bound once, and keep all other rows."""
        rows = [history_row(n) for n in range(500)]
        await history.append(rows)
        await outbox.remove([entry.seq for entry in await outbox.pending(1_000)])

        async def prune() -> int:
            taken = 0
            while gone := await history.prune(rows[490].id, 20):
                taken += gone
            return taken

        assert sum(await asyncio.gather(*(prune() for _ in range(4)))) == 490
        assert await history.page(ALL, None, 1_000) == rows[:489:-1]

    async def test_published_entries_are_removed_and_no_others(
        self, history: SqlHistoryStore, outbox: SqlOutboxStore
    ) -> None:
        """Removing outbox entries deletes exactly the given ones, and no row of the history."""
        rows = [history_row(n) for n in range(10)]
        await history.append(rows)
        entries = await outbox.pending(100)
        await outbox.remove([entries[n].seq for n in (0, 1, 2, 5, 9)])
        assert [entry.row for entry in await outbox.pending(100)] == [rows[n] for n in (3, 4, 6, 7, 8)]
        assert [entry.row for entry in await outbox.pending(2)] == [rows[n] for n in (3, 4)]
        assert await outbox.backlog() == 5
        assert len(await history.page(ALL, None, 100)) == 10

    async def test_entries_without_a_row_are_removed(
        self, database: Database, history: SqlHistoryStore, outbox: SqlOutboxStore
    ) -> None:
        """Outbox entries whose history rows were deleted by hand are removed, since they would block all pruning."""
        rows = [history_row(n) for n in range(2_003)]
        await history.append(rows)
        gone = delete(history_table).where(history_table.c.id < rows[2_000].id)
        await database.write(lambda connection: connection.execute(gone))
        assert [entry.row for entry in await outbox.pending(1)] == rows[2_000:2_001]
        assert await outbox.backlog() == 3
        await outbox.remove([entry.seq for entry in await outbox.pending(10)])
        assert await history.prune(ids.next(), 100) == 3


class TestUnitsOfWork:
    """The transactions in which a database reads and writes."""

    async def test_a_read_can_not_write(self, database: Database, users: SqlUserStore) -> None:
        """A write inside ``read`` raises an error of this project and changes nothing."""
        await users.add(user("ada"))
        with pytest.raises(PycalcError):
            await database.read(lambda connection: connection.execute(text("DELETE FROM users")))
        assert await users.by_username("ada") is not None

    async def test_a_write_that_raises_leaves_nothing(self, database: Database, users: SqlUserStore) -> None:
        """An exception inside a write is raised to the caller and rolls the write back; the next write works."""
        await users.add(user("ada"))

        def fail(connection: Connection) -> None:
            connection.execute(text("DELETE FROM users"))
            raise LookupError("on purpose")

        with pytest.raises(LookupError):
            await database.write(fail)
        assert await users.by_username("ada") is not None
        await users.add(user("bob"))
        assert await users.by_username("bob") is not None

    async def test_what_is_committed_outlives_the_database_object(self, database_url: str, database: Database) -> None:
        """Committed rows are there after the database is reopened."""
        row = history_row()
        await SqlHistoryStore(database).append([row])
        await database.aclose()
        again = await open_database(database_url)
        assert await SqlHistoryStore(again).page(ALL, None, 10) == [row]
        await again.aclose()

    async def test_a_closed_database_is_unavailable(self, database: Database, history: SqlHistoryStore) -> None:
        """A closed database raises StoreUnavailable for reads, writes and pings."""
        await database.aclose()
        with pytest.raises(StoreUnavailable):
            await history.append([history_row()])
        with pytest.raises(StoreUnavailable):
            await history.page(ALL, None, 10)
        with pytest.raises(StoreUnavailable):
            await database.ping()

    async def test_bad_sql_is_a_domain_error(self, database: Database) -> None:
        """Invalid SQL raises an error of this project, not an exception of the driver or of SQLAlchemy."""
        with pytest.raises(StoreUnavailable):
            await database.read(lambda connection: connection.execute(text("SELECT * FROM nowhere")))

    async def test_a_write_that_has_begun_runs_to_its_end(
        self, database_url: str, database: Database, users: SqlUserStore
    ) -> None:
        """A write whose caller is cancelled is still committed, and closing waits for it."""
        await users.add(user("ada"))
        begun = threading.Event()

        def work(connection: Connection) -> None:
            begun.set()
            connection.execute(text("DELETE FROM users"))

        task = asyncio.create_task(database.write(work))
        await until(begun.is_set, "the write has begun")
        task.cancel()
        await asyncio.wait({task})
        await database.aclose()
        again = await open_database(database_url)
        assert await SqlUserStore(again).by_username("ada") is None
        await again.aclose()

    async def test_an_unknown_scheme_is_a_sentence(self) -> None:
        """The error for a URL with an unknown scheme names the setting, the scheme and the known ones."""
        with pytest.raises(ValueError, match=r"PYCALC_DATABASE_URL.*'nowhere'.*sqlite"):
            await open_database("nowhere://host")
