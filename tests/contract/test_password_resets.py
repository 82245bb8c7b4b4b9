"""Contract tests for password resets, with every database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from pycalc.db.base import Database, NewSession, SessionLimits
from pycalc.db.password_resets import SqlPasswordResetStore
from pycalc.db.revocations import SqlRevocationStore
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.users import SqlUserStore
from pycalc.errors import NotFound, Unauthorized
from pycalc.models.auth import NO_PASSWORD, Role, User
from pycalc.models.ids import IdSource
from tests.harness.stores import KEEPING

pytestmark = pytest.mark.anyio

ids = IdSource()
LIMITS = SessionLimits(idle_ms=1_000, absolute_ms=5_000, grace_ms=10, per_user=3)
FIRST, SECOND, SESSION = b"1" * 32, b"2" * 32, ids.next()
NOW, EXPIRES = 1_000_000, 1_000_060


@pytest.fixture
def resets(database: Database) -> SqlPasswordResetStore:
    """Return the store of password resets."""
    return SqlPasswordResetStore(database)


@pytest.fixture
async def ada(database: Database, resets: SqlPasswordResetStore, bystander: User) -> User:
    """Return an account with a session and a password reset."""
    user = User(ids.next(), "ada", "ada@example.com", "hash", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))
    await SqlUserStore(database).add(user)
    await SqlSessionStore(database).open(NewSession(SESSION, user.id, "hash", FIRST, FIRST, NOW), LIMITS)
    await resets.offer(user.id, FIRST, EXPIRES)
    return user


async def test_a_reset_sets_the_password_once(database: Database, resets: SqlPasswordResetStore, ada: User) -> None:
    """A reset can be used once. It stores the new password hash, ends all sessions and records a revocation."""
    revocations = SqlRevocationStore(database)
    before = await revocations.newest()
    assert await resets.owner(FIRST, NOW) == ada
    await resets.use(FIRST, NOW, "new hash")
    changed = await SqlUserStore(database).by_id(ada.id)
    assert changed is not None
    assert changed.password_hash == "new hash"
    assert await SqlSessionStore(database).of_user(ada.id, NOW, LIMITS) == []
    assert (await revocations.since(before)).users == frozenset({ada.id})
    assert await resets.owner(FIRST, NOW) is None
    with pytest.raises(Unauthorized):
        await resets.use(FIRST, NOW, "another hash")
    assert await SqlUserStore(database).by_id(ada.id) == changed


async def test_of_two_uses_at_once_one_wins(database: Database, resets: SqlPasswordResetStore, ada: User) -> None:
    """If a reset is used twice at once, one use succeeds, and its password is stored."""
    hashes = ("one", "two")
    results = await asyncio.gather(*(resets.use(FIRST, NOW, each) for each in hashes), return_exceptions=True)
    (won,) = [each for each, result in zip(hashes, results, strict=True) if result is None]
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "Unauthorized"]
    changed = await SqlUserStore(database).by_id(ada.id)
    assert changed is not None
    assert changed.password_hash == won


async def test_a_reset_ends_with_its_time(resets: SqlPasswordResetStore, ada: User) -> None:
    """A reset is valid before the millisecond of its expiry, and invalid from then on."""
    assert await resets.owner(FIRST, EXPIRES - 1) == ada
    assert await resets.owner(FIRST, EXPIRES) is None
    with pytest.raises(Unauthorized):
        await resets.use(FIRST, EXPIRES, "new hash")


async def test_a_user_has_one_reset(resets: SqlPasswordResetStore, ada: User) -> None:
    """A user's second reset replaces the first one."""
    await resets.offer(ada.id, SECOND, EXPIRES)
    assert await resets.owner(FIRST, NOW) is None
    assert await resets.owner(SECOND, NOW) == ada


async def _disabled_for_a_while(users: SqlUserStore, user: User) -> None:
    await users.change("ada", None, True)
    await users.change("ada", None, False)


VOIDING: dict[str, Callable[[SqlUserStore, User], Awaitable[object]]] = {
    "a new password": lambda users, user: users.set_password(user.id, "hash", "newer hash", SESSION),
    "disabling for a while": _disabled_for_a_while,
    "deletion": lambda users, user: users.delete("ada", KEEPING),
}


@pytest.mark.parametrize("how", VOIDING)
async def test_a_reset_does_not_outlive_what_it_was_for(
    database: Database, resets: SqlPasswordResetStore, ada: User, how: str
) -> None:
    """A new password, disabling the account (even for a while), and deleting it make the user's reset invalid."""
    await VOIDING[how](SqlUserStore(database), ada)
    assert await resets.owner(FIRST, NOW) is None
    with pytest.raises(Unauthorized):
        await resets.use(FIRST, NOW, "new hash")


async def test_a_disabled_account_sets_no_password(
    database: Database, resets: SqlPasswordResetStore, ada: User
) -> None:
    """While an account is disabled, a reset made for it is invalid."""
    await SqlUserStore(database).change("ada", None, True)
    await resets.offer(ada.id, SECOND, EXPIRES)
    assert await resets.owner(SECOND, NOW) is None
    with pytest.raises(Unauthorized):
        await resets.use(SECOND, NOW, "new hash")


async def test_an_unknown_account_gets_no_reset(resets: SqlPasswordResetStore, ada: User) -> None:
    """Making a reset for an account that does not exist raises NotFound."""
    with pytest.raises(NotFound):
        await resets.offer(ids.next(), SECOND, EXPIRES)
    assert await resets.owner(SECOND, NOW) is None


async def test_an_account_without_a_password_gets_none(database: Database, resets: SqlPasswordResetStore) -> None:
    """A reset for an account of the identity provider is invalid, because such an account has no password."""
    made = datetime(2026, 11, 22, tzinfo=UTC)
    user = User(ids.next(), "grace", "grace@example.com", NO_PASSWORD, Role.USER, made)
    await SqlUserStore(database).add(user)
    await resets.offer(user.id, SECOND, EXPIRES)
    assert await resets.owner(SECOND, NOW) is None
    with pytest.raises(Unauthorized):
        await resets.use(SECOND, NOW, "new hash")
    assert await SqlUserStore(database).by_id(user.id) == user
