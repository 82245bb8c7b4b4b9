"""Contract tests for deleted accounts and reserved names, with every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pycalc.db.base import Database, DeletedAccount, Deletion, HistoryFilter, UsageFilter
from pycalc.db.deleted_accounts import SqlDeletedAccountStore
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.db.usage import SqlUsageStore
from pycalc.db.users import SqlUserStore
from pycalc.errors import Conflict, InvalidToken
from pycalc.models.auth import DeletedHistory, Role, User
from pycalc.models.ids import IdSource, unix_ms
from pycalc.models.usage import Use
from tests.harness.stores import history_row

pytestmark = pytest.mark.anyio

ids = IdSource()
MOMENT = datetime(2026, 11, 22, tzinfo=UTC)
DELETED_MS, DAY_MS = unix_ms(MOMENT), 86_400_000
NOBODY = bytes(16)


@pytest.fixture
def users(database: Database) -> SqlUserStore:
    """Return the store of accounts."""
    return SqlUserStore(database)


@pytest.fixture
def deleted(database: Database) -> SqlDeletedAccountStore:
    """Return the store of deleted accounts."""
    return SqlDeletedAccountStore(database)


@pytest.fixture
async def ada(users: SqlUserStore, bystander: User) -> User:
    """Store an account in addition to the bystander's, and return it."""
    account = user("Ada")
    await users.add(account)
    return account


def user(name: str, later: timedelta = timedelta()) -> User:
    """Return an account created at MOMENT plus ``later``. Every deletion in these tests happens at MOMENT."""
    return User(ids.next(), name, f"{name}{later.seconds}@example.com", "hash", Role.USER, MOMENT + later)


def deletion(history: DeletedHistory, password_hash: str | None = None) -> Deletion:
    """Return a deletion at MOMENT that reserves the name for a day."""
    return Deletion(history, DELETED_MS, DELETED_MS + DAY_MS, password_hash)


@pytest.mark.parametrize("history", ["keep", "anonymize", "erase"])
async def test_a_name_is_reserved_for_its_time(users: SqlUserStore, ada: User, history: DeletedHistory) -> None:
    """A deleted account's name can't be registered, in any letter case, until the reservation ends."""
    await users.delete("ada", deletion(history))
    early = user("ADA", timedelta(days=1) - timedelta(milliseconds=1))
    with pytest.raises(Conflict):
        await users.add(early)
    assert await users.by_id(early.id) is None
    heir = user("adA", timedelta(days=1))
    await users.add(heir)
    assert await users.by_username("ada") == heir
    assert await users.delete("ada", deletion(history)) == heir


@pytest.mark.parametrize("history", ["anonymize", "erase"])
async def test_nothing_leads_from_the_name_to_the_history(
    users: SqlUserStore, deleted: SqlDeletedAccountStore, ada: User, history: DeletedHistory
) -> None:
    """If the history is anonymised or erased, the deleted account's name selects no row of it.

    The store lists the account as deleted until this is done.
    """
    await users.delete("ada", deletion(history))
    assert await users.id_of("ada") is None
    assert await deleted.following(NOBODY) == DeletedAccount(ada.id, history == "erase", DELETED_MS)
    assert await deleted.following(ada.id) is None
    await deleted.finish(ada.id)
    assert await deleted.following(NOBODY) is None


async def test_a_history_that_is_kept_is_found_by_name(
    users: SqlUserStore, deleted: SqlDeletedAccountStore, ada: User
) -> None:
    """If the history is kept, the deleted account's name still selects it, and the account awaits no erasure."""
    await users.delete("ada", deletion("keep"))
    assert await users.id_of("ada") == ada.id
    assert await deleted.following(NOBODY) is None


async def test_an_account_whose_password_was_changed_meanwhile_stays(
    users: SqlUserStore, deleted: SqlDeletedAccountStore, ada: User
) -> None:
    """A deletion that was verified against an older password hash changes nothing."""
    with pytest.raises(InvalidToken):
        await users.delete("ada", deletion("erase", "older hash"))
    assert await users.by_id(ada.id) == ada
    assert await deleted.following(NOBODY) is None
    assert await users.delete("ada", deletion("erase", "hash")) == ada


async def test_an_ended_reservation_is_forgotten(
    users: SqlUserStore, deleted: SqlDeletedAccountStore, ada: User
) -> None:
    """Reserved names are released in batches when the reservation has ended, unless they still select a history."""
    for name in ("eve", "joe"):
        await users.add(user(name))
    await users.delete("ada", deletion("keep"))
    for name in ("eve", "joe"):
        await users.delete(name, deletion("anonymize"))
    assert await deleted.release_names(DELETED_MS + DAY_MS - 1, 10) == 0
    assert [await deleted.release_names(DELETED_MS + DAY_MS, 1) for _ in range(3)] == [1, 1, 0]
    assert await users.id_of("ada") == ada.id


async def test_a_history_becomes_anonymous_in_batches(database: Database, deleted: SqlDeletedAccountStore) -> None:
    """Anonymising replaces the name in the user's history and unpublished events, and changes nothing else."""
    ada, bob = ids.next(), ids.next()
    rows = [history_row(n, user_id=bob if n == 2 else ada) for n in range(6)]
    history = SqlHistoryStore(database)
    await history.append(rows)
    mine = [row for row in rows if row.user_id == ada]
    last: bytes | None = NOBODY
    seen = []
    while last is not None:
        last = await deleted.anonymize(ada, last, 2)
        seen.append(last)
    assert seen == [mine[1].id, mine[3].id, mine[4].id, None]
    expected = [row._replace(username="(deleted)") if row.user_id == ada else row for row in rows]
    assert await history.page(HistoryFilter(), None, 10) == expected[::-1]
    assert [entry.row for entry in await SqlOutboxStore(database).pending(10)] == expected


async def test_totals_are_erased_in_batches(database: Database, deleted: SqlDeletedAccountStore) -> None:
    """Erasing a user's usage totals deletes all of them in batches, and nobody else's."""
    ada, bob = ids.next(), ids.next()
    usage = SqlUsageStore(database)
    uses = [(ada, 1, "pow"), (ada, 1, "lucas"), (ada, 2, "pow"), (bob, 1, "pow")]
    await usage.count([Use(ids.next(), *key, False, 3, 20) for key in uses])
    assert [await deleted.erase_totals(ada, 2) for _ in range(3)] == [2, 1, 0]
    assert await usage.totals(UsageFilter((ada,)), 10) == []
    assert len(await usage.totals(UsageFilter((bob,)), 10)) == 1
