"""What every database promises of sessions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pycalc.db.base import Database, NewSession, SessionLimits
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.users import SqlUserStore
from pycalc.models.auth import Role, User
from pycalc.models.ids import IdSource

pytestmark = pytest.mark.anyio

ids = IdSource()
LIMITS = SessionLimits(idle_ms=1_000, absolute_ms=5_000, grace_ms=10, per_user=3)
FIRST, SECOND, THIRD, FOURTH = (bytes([number]) * 32 for number in range(4))
START = 1_000_000


@pytest.fixture
def sessions(database: Database) -> SqlSessionStore:
    """Return the sessions."""
    return SqlSessionStore(database)


@pytest.fixture
async def ada(database: Database) -> User:
    """Return a stored account."""
    user = User(ids.next(), "ada", "ada@example.com", "hash", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))
    await SqlUserStore(database).add(user)
    return user


async def opened(sessions: SqlSessionStore, user: User, now_ms: int = START) -> bytes:
    """Open a session whose refresh token's hash is FIRST."""
    identity = ids.next()
    await sessions.open(NewSession(identity, user.id, FIRST, now_ms), LIMITS)
    return identity


async def test_an_open_session_has_its_user_as_bearer(sessions: SqlSessionStore, ada: User) -> None:
    """A session belongs to one user; with another's id, or when it is closed, there is no bearer."""
    session = await opened(sessions, ada)
    assert await sessions.bearer(ada.id, session) == ada
    assert await sessions.bearer(ids.next(), session) is None
    await sessions.close(session)
    assert await sessions.bearer(ada.id, session) is None


async def test_the_current_token_is_replaced(sessions: SqlSessionStore, ada: User) -> None:
    """Each rotation makes the presented hash the one before, and the replacement the current one."""
    session = await opened(sessions, ada)
    assert await sessions.rotate(session, FIRST, SECOND, START + 1, LIMITS) == (ada, False)
    assert await sessions.rotate(session, SECOND, THIRD, START + 2, LIMITS) == (ada, False)


async def test_the_token_before_is_good_for_the_time_of_grace(sessions: SqlSessionStore, ada: User) -> None:
    """A client whose reply was lost comes again with the old token; the time of grace does not grow by that."""
    session = await opened(sessions, ada)
    await sessions.rotate(session, FIRST, SECOND, START, LIMITS)
    assert await sessions.rotate(session, FIRST, THIRD, START + 10, LIMITS) == (ada, False)
    assert await sessions.rotate(session, FIRST, FOURTH, START + 11, LIMITS) == (None, True)


@pytest.mark.parametrize("stolen", [FIRST, SECOND], ids=["long ago", "lost reply's"])
async def test_reuse_ends_the_session(sessions: SqlSessionStore, ada: User, stolen: bytes) -> None:
    """A token that was replaced and is used again has been copied: nobody keeps the session."""
    session = await opened(sessions, ada)
    await sessions.rotate(session, FIRST, SECOND, START, LIMITS)
    await sessions.rotate(session, FIRST, THIRD, START + 1, LIMITS)
    await sessions.rotate(session, THIRD, FOURTH, START + 2, LIMITS)
    assert await sessions.rotate(session, stolen, FIRST, START + 3, LIMITS) == (None, True)
    assert await sessions.bearer(ada.id, session) is None
    assert await sessions.rotate(session, FOURTH, FIRST, START + 4, LIMITS) == (None, False)


async def test_a_session_ends_idle_and_of_age(sessions: SqlSessionStore, ada: User) -> None:
    """Used within the idle time it goes on, up to its absolute end."""
    idle, used = await opened(sessions, ada), await opened(sessions, ada)
    assert await sessions.rotate(idle, FIRST, SECOND, START + 1_001, LIMITS) == (None, False)
    for step in range(1, 6):
        assert await sessions.rotate(used, FIRST, FIRST, START + step * 1_000, LIMITS) == (ada, False)
    assert await sessions.rotate(used, FIRST, FIRST, START + 5_001, LIMITS) == (None, False)


async def test_sessions_of_a_user_are_bounded(sessions: SqlSessionStore, ada: User) -> None:
    """One more than the limit ends the one that was used longest ago; an expired one goes first."""
    first, second, third = [await opened(sessions, ada, START + step) for step in range(3)]
    await sessions.rotate(first, FIRST, SECOND, START + 10, LIMITS)
    fourth = await opened(sessions, ada, START + 11)
    assert [await sessions.bearer(ada.id, each) for each in (first, second, third, fourth)] == [ada, None, ada, ada]


async def test_a_new_password_ends_the_other_sessions(database: Database, sessions: SqlSessionStore, ada: User) -> None:
    """The hash changes and all sessions but the one that asked end, together."""
    kept, ended = await opened(sessions, ada), await opened(sessions, ada)
    users = SqlUserStore(database)
    await users.set_password(ada.id, "new", kept)
    changed = await sessions.bearer(ada.id, kept)
    assert changed is not None
    assert changed.password_hash == "new"
    assert await sessions.bearer(ada.id, ended) is None


async def test_an_account_takes_its_sessions_with_it(database: Database, sessions: SqlSessionStore, ada: User) -> None:
    """A refresh token of a deleted account opens nothing."""
    session = await opened(sessions, ada)
    await SqlUserStore(database).delete("ada")
    assert await sessions.rotate(session, FIRST, SECOND, START, LIMITS) == (None, False)


async def test_all_sessions_end_together(sessions: SqlSessionStore, ada: User) -> None:
    """Whoever logs out everywhere is logged out everywhere."""
    both = [await opened(sessions, ada), await opened(sessions, ada)]
    await sessions.close_all(ada.id)
    assert [await sessions.bearer(ada.id, session) for session in both] == [None, None]
