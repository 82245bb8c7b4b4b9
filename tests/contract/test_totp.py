"""Contract tests for second factors, with every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from pycalc.db.base import Database, NewSession, SessionLimits, StoredTotp
from pycalc.db.revocations import SqlRevocationStore
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.tables import totp as table
from pycalc.db.totp import SqlTotpStore
from pycalc.db.users import SqlUserStore
from pycalc.errors import Conflict, InvalidToken, NotFound, Unauthorized
from pycalc.models.auth import Role, User
from pycalc.models.ids import IdSource
from tests.harness.stores import KEEPING

pytestmark = pytest.mark.anyio

ids = IdSource()
LIMITS = SessionLimits(idle_ms=1_000, absolute_ms=5_000, grace_ms=10, per_user=3)
HASHES = [bytes([number]) * 32 for number in range(10)]
START, STEP = 1_000_000, 59_000_000
SECRET, OTHER = b"a secret, encrypted", b"another one"


@pytest.fixture
def factors(database: Database) -> SqlTotpStore:
    """Return the store of second factors."""
    return SqlTotpStore(database)


@pytest.fixture
async def ada(database: Database, bystander: User) -> User:
    """Store an account in addition to the bystander's, and return it."""
    user = User(ids.next(), "ada", "ada@example.com", "hash", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))
    await SqlUserStore(database).add(user)
    return user


async def session_of(database: Database, user: User, *, totp: bool = False) -> bytes:
    """Open a session, and return its id; ``totp`` says whether the login verified a second factor."""
    identity = ids.next()
    session = NewSession(identity, user.id, user.password_hash, HASHES[0], HASHES[1], START, totp)
    await SqlSessionStore(database).open(session, LIMITS)
    return identity


async def enrolled(database: Database, factors: SqlTotpStore, user: User) -> bytes:
    """Turn the second factor of an account on; return the id of the session that did so."""
    session = await session_of(database, user)
    await factors.offer(user.id, SECRET)
    await factors.confirm(user.id, SECRET, STEP, HASHES, session)
    return session


async def test_a_secret_is_replaced_until_it_is_confirmed(database: Database, factors: SqlTotpStore, ada: User) -> None:
    """A new secret replaces an unconfirmed one, but not a confirmed one. Confirming sets ``totp`` in the account."""
    session = await session_of(database, ada)
    assert await factors.of_user(ada.id) is None
    await factors.offer(ada.id, SECRET)
    await factors.offer(ada.id, OTHER)
    assert await factors.of_user(ada.id) == StoredTotp(OTHER, None)
    assert await SqlUserStore(database).by_id(ada.id) == ada
    with pytest.raises(Conflict):  # the replaced secret
        await factors.confirm(ada.id, SECRET, STEP, HASHES, session)
    await factors.confirm(ada.id, OTHER, STEP, HASHES, session)
    assert await factors.of_user(ada.id) == StoredTotp(OTHER, STEP)
    assert await SqlUserStore(database).by_id(ada.id) == replace(ada, totp=True)
    with pytest.raises(Conflict):
        await factors.offer(ada.id, SECRET)
    with pytest.raises(Conflict):
        await factors.confirm(ada.id, OTHER, STEP, HASHES, session)


async def test_an_account_that_is_gone_gets_none(factors: SqlTotpStore, bystander: User) -> None:
    """A second factor can't be stored for an account that does not exist."""
    with pytest.raises(InvalidToken):
        await factors.offer(ids.next(), SECRET)


async def test_an_ended_session_confirms_nothing(database: Database, factors: SqlTotpStore, ada: User) -> None:
    """A session that has ended in the meantime can't turn the second factor on."""
    session = await session_of(database, ada)
    await factors.offer(ada.id, SECRET)
    await SqlSessionStore(database).close(ada.id, session)
    with pytest.raises(InvalidToken):
        await factors.confirm(ada.id, SECRET, STEP, HASHES, session)
    assert await SqlUserStore(database).by_id(ada.id) == ada


async def test_turning_it_on_or_off_ends_the_other_sessions(
    database: Database, factors: SqlTotpStore, ada: User
) -> None:
    """Turning the second factor on or off ends all sessions but the one that does so, and records a revocation."""
    sessions, revocations = SqlSessionStore(database), SqlRevocationStore(database)
    other = await session_of(database, ada)
    before = await revocations.newest()
    own = await enrolled(database, factors, ada)
    assert await sessions.bearer(ada.id, own, START, LIMITS) is not None
    assert await sessions.bearer(ada.id, other, START, LIMITS) is None
    assert (await revocations.since(before)).users == frozenset({ada.id})
    other = await session_of(database, ada, totp=True)
    before = await revocations.newest()
    await factors.remove(ada.id, own)
    assert await sessions.bearer(ada.id, own, START, LIMITS) == ada
    assert await sessions.bearer(ada.id, other, START, LIMITS) is None
    assert (await revocations.since(before)).users == frozenset({ada.id})


async def test_a_reset_ends_every_session(database: Database, factors: SqlTotpStore, ada: User) -> None:
    """Removing the second factor without naming a session ends all sessions; a second removal raises NotFound."""
    own = await enrolled(database, factors, ada)
    await factors.remove(ada.id, None)
    assert await SqlSessionStore(database).bearer(ada.id, own, START, LIMITS) is None
    assert await factors.of_user(ada.id) is None
    with pytest.raises(NotFound):
        await factors.remove(ada.id, None)


async def test_an_unconfirmed_enrolment_is_nothing_to_remove(
    database: Database, factors: SqlTotpStore, ada: User
) -> None:
    """Removing an unconfirmed secret raises NotFound, because it is no second factor yet."""
    await factors.offer(ada.id, SECRET)
    with pytest.raises(NotFound):
        await factors.remove(ada.id, None)


async def test_a_step_is_used_once(database: Database, factors: SqlTotpStore, ada: User) -> None:
    """``use_step`` accepts only a time step later than the last used one, and then stores the re-encrypted secret."""
    await enrolled(database, factors, ada)
    assert [await factors.use_step(ada.id, step, SECRET, SECRET) for step in (STEP, STEP + 2)] == [False, True]
    uses = [await factors.use_step(ada.id, step, SECRET, OTHER) for step in (STEP + 2, STEP + 1, STEP + 3)]
    assert uses == [False, False, True]
    assert await factors.of_user(ada.id) == StoredTotp(OTHER, STEP + 3)


async def test_a_replaced_secret_does_not_come_back(database: Database, factors: SqlTotpStore, ada: User) -> None:
    """A login with a secret that was replaced in the meantime fails, and does not store the old secret again."""
    await enrolled(database, factors, ada)
    assert not await factors.use_step(ada.id, STEP + 1, OTHER, OTHER)
    assert await factors.of_user(ada.id) == StoredTotp(SECRET, STEP)


async def test_of_many_at_once_one_step_is_accepted(database: Database, factors: SqlTotpStore, ada: User) -> None:
    """Of several concurrent uses of one code, exactly one is accepted."""
    await enrolled(database, factors, ada)
    uses = await asyncio.gather(*(factors.use_step(ada.id, STEP + 1, SECRET, SECRET) for _ in range(8)))
    assert sorted(uses) == [False] * 7 + [True]


async def test_an_unconfirmed_secret_accepts_nothing(factors: SqlTotpStore, ada: User) -> None:
    """An unconfirmed secret accepts neither codes nor recovery codes."""
    await factors.offer(ada.id, SECRET)
    assert not await factors.use_step(ada.id, STEP, SECRET, SECRET)
    assert not await factors.use_recovery(ada.id, HASHES[0])


async def test_each_recovery_code_works_once(database: Database, factors: SqlTotpStore, ada: User) -> None:
    """Each of ten recovery codes works once, also under concurrent use; an unknown code does not."""
    await enrolled(database, factors, ada)
    assert not await factors.use_recovery(ada.id, b"?" * 32)
    assert await factors.use_recovery(ada.id, HASHES[7])
    at_once = await asyncio.gather(*(factors.use_recovery(ada.id, HASHES[3]) for _ in range(8)))
    assert sorted(at_once) == [False] * 7 + [True]
    left = [known for number, known in enumerate(HASHES) if number not in (3, 7)]
    assert [await factors.use_recovery(ada.id, known) for known in left] == [True] * 8
    assert [await factors.use_recovery(ada.id, known) for known in HASHES] == [False] * 10


async def test_a_login_does_not_survive_a_new_second_factor(
    database: Database, factors: SqlTotpStore, ada: User
) -> None:
    """A login that verified the password before the second factor was turned on or off opens no session."""
    await enrolled(database, factors, ada)
    with pytest.raises(Unauthorized):
        await session_of(database, ada)
    assert await session_of(database, ada, totp=True)
    await factors.remove(ada.id, None)
    with pytest.raises(Unauthorized):
        await session_of(database, ada, totp=True)


async def test_deleting_an_account_deletes_the_factor(database: Database, factors: SqlTotpStore, ada: User) -> None:
    """Deleting an account deletes its second factor."""
    await enrolled(database, factors, ada)
    await SqlUserStore(database).delete("ada", KEEPING)
    counting = select(func.count()).select_from(table)
    assert await database.read(lambda connection: connection.scalar(counting)) == 0
