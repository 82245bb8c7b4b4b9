"""Contract tests for revocations and concurrent account changes, with every database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from pycalc.db.base import Database, NewSession, RefreshHashes, SessionLimits
from pycalc.db.keys import SqlKeyStore
from pycalc.db.revocations import SqlRevocationStore
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.users import SqlUserStore
from pycalc.errors import Conflict, StoreUnavailable, Unauthorized
from pycalc.models.auth import Role, StoredKey, User
from pycalc.models.ids import IdSource
from pycalc.models.limits import OwnLimits
from tests.harness.stores import KEEPING

pytestmark = pytest.mark.anyio

ids = IdSource()
LIMITS = SessionLimits(idle_ms=1_000, absolute_ms=5_000, grace_ms=10, per_user=2)
HASH, OTHER = b"1" * 32, b"2" * 32
SESSION, KEY = ids.next(), ids.next()


class Stores:
    """The stores of accounts, sessions, keys and revocations."""

    def __init__(self, database: Database) -> None:
        self.users = SqlUserStore(database)
        self.sessions = SqlSessionStore(database)
        self.keys = SqlKeyStore(database)
        self.revocations = SqlRevocationStore(database)


@pytest.fixture
def stores(database: Database) -> Stores:
    """Return the stores of an empty database."""
    return Stores(database)


async def added(stores: Stores, name: str = "ada", role: Role = Role.USER) -> User:
    """Store an account, and return it."""
    user = User(ids.next(), name, f"{name}@example.com", "$2b$hash", role, datetime(2026, 11, 22, tzinfo=UTC))
    await stores.users.add(user)
    return user


async def opened(stores: Stores, user: User, session: bytes, now_ms: int = 1_000) -> None:
    """Open a session with this id."""
    await stores.sessions.open(NewSession(session, user.id, user.password_hash, HASH, HASH, now_ms), LIMITS)


REVOKING: dict[str, Callable[[Stores, User], Awaitable[object]]] = {
    "a change of role": lambda stores, user: stores.users.change("ADA", Role.ADMIN, None),
    "other limits": lambda stores, user: stores.users.change("ada", None, None, OwnLimits(compute="0")),
    "disabling": lambda stores, user: stores.users.change("ada", None, True),
    "deletion": lambda stores, user: stores.users.delete("ada", KEEPING),
    "a new password": lambda stores, user: stores.users.set_password(user.id, user.password_hash, "$2b$new", SESSION),
    "logout": lambda stores, user: stores.sessions.close(user.id, SESSION),
    "logout everywhere": lambda stores, user: stores.sessions.close_all(user.id),
    "reuse of a refresh token": lambda stores, user: stores.sessions.rotate(
        RefreshHashes(SESSION, HASH, OTHER, OTHER, 1_001), LIMITS
    ),
    "removal of a key": lambda stores, user: stores.keys.remove(user.id, KEY),
    "one session too many": lambda stores, user: opened(stores, user, ids.next(), 1_002),
}


@pytest.mark.parametrize("revoke", REVOKING.values(), ids=REVOKING)
async def test_what_revokes_is_numbered(stores: Stores, revoke: Callable[[Stores, User], Awaitable[object]]) -> None:
    """Each change that may end or change a user's access, such as a logout, is stored as one numbered revocation."""
    user = await added(stores)
    await opened(stores, user, SESSION, 1_000)
    await opened(stores, user, ids.next(), 1_001)
    await stores.keys.add(StoredKey(KEY, user.id, "ci", "pck_1234", 1, None, None), HASH, 10)
    before = await stores.revocations.newest()
    assert (await stores.revocations.since(before)).users == frozenset()
    await revoke(stores, user)
    assert await stores.revocations.newest() == before + 1
    assert await stores.revocations.since(before) == (before + 1, frozenset({user.id}))


async def test_what_fails_revokes_nothing(stores: Stores) -> None:
    """A failed change, such as demoting the last admin, records no revocation."""
    await added(stores, "ada", Role.ADMIN)
    with pytest.raises(Conflict):
        await stores.users.change("ada", Role.USER, None)
    assert await stores.revocations.newest() == 0


async def test_revocations_too_far_back_concern_everybody(database: Database) -> None:
    """A reader whose position is before the oldest kept revocation gets None, which stands for all users."""
    stores = Stores(database)
    users = [await added(stores, f"user{number}") for number in range(3)]
    for user in users:
        await stores.users.change(user.username, None, False)
    forget_first = text("DELETE FROM revocations WHERE number = 1")
    await database.write(lambda connection: connection.execute(forget_first))
    assert await stores.revocations.since(0) == (3, None)
    assert await stores.revocations.since(1) == (3, frozenset({users[1].id, users[2].id}))


async def test_many_at_once_are_all_numbered(stores: Stores) -> None:
    """Fifty concurrent revocations get fifty numbers, and a polling reader misses none."""
    users = [await added(stores, f"user{number}") for number in range(50)]
    seen: set[bytes] = set()
    acts = asyncio.gather(*(stores.users.change(user.username, None, True) for user in users))
    number = 0
    while number < 50:
        number, concerned = await stores.revocations.since(number)
        assert concerned is not None
        seen |= concerned
        if acts.done():
            await acts  # raises the error of a change that failed, without which its number would never come
    await acts
    assert seen == {user.id for user in users}


async def test_one_admin_is_left_whoever_demotes_whom(stores: Stores) -> None:
    """If ten admins are deleted, demoted or disabled at the same time, exactly one stays."""
    for number in range(10):
        await added(stores, f"admin{number}", Role.ADMIN)
    acts = [
        stores.users.delete(f"admin{number}", KEEPING)
        if number % 3 == 0
        else stores.users.change(f"admin{number}", Role.USER if number % 3 == 1 else None, number % 3 == 2)
        for number in range(10)
    ]
    outcomes = await asyncio.gather(*acts, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)] == [Conflict]
    assert await stores.users.has_admin()


async def test_an_account_that_was_disabled_meanwhile_gets_no_session_and_no_key(stores: Stores) -> None:
    """A deleted or disabled account can't open a session, and gets no key."""
    ada, bob = await added(stores, "ada"), await added(stores, "bob")
    await stores.users.change("ada", None, True)
    await stores.users.delete("bob", KEEPING)
    for user in (ada, bob):
        with pytest.raises(Unauthorized):
            await opened(stores, user, ids.next())
        with pytest.raises(Unauthorized):
            await stores.keys.add(StoredKey(KEY, user.id, "ci", "pck_1234", 1, None, None), HASH, 10)
        assert await stores.keys.of_user(user.id) == []


# Statements that keep a connection busy for most of a second.
LINGER = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 2000000) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(0.7)",
}


async def test_revocations_are_read_while_every_reader_is_busy(stores: Stores, database: Database) -> None:
    """Revocations are read at once on a reserved connection, even if all readers and their queue are busy."""
    number = await stores.revocations.newest()
    user = await added(stores)
    await stores.users.change("ada", Role.ADMIN, None)
    reading = [
        asyncio.ensure_future(
            database.read(lambda connection: connection.execute(text(LINGER[connection.dialect.name])))
        )
        for _ in range(256)
    ]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await database.read(lambda connection: connection.execute(text("SELECT 1")))
    assert (await stores.revocations.since(number)).users == frozenset([user.id])
    assert not any(task.done() for task in reading)
    await asyncio.gather(*reading, return_exceptions=True)
