"""Contract tests for sessions, with every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from sqlalchemy import text

from pycalc.db.base import Database, NewSession, RefreshHashes, Rotation, SessionLimits
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.users import SqlUserStore
from pycalc.errors import NotFound, Unauthorized
from pycalc.models.auth import Device, Role, StoredSession, User
from pycalc.models.ids import IdSource
from tests.harness.stores import KEEPING

pytestmark = pytest.mark.anyio

ids = IdSource()
LIMITS = SessionLimits(idle_ms=1_000, absolute_ms=5_000, grace_ms=10, per_user=3)
FIRST, SECOND, THIRD, FOURTH, FAMILY, OTHER = (bytes([number]) * 32 for number in range(6))
START = 1_000_000


@pytest.fixture
def sessions(database: Database) -> SqlSessionStore:
    """Return the store of sessions."""
    return SqlSessionStore(database)


@pytest.fixture
async def ada(database: Database, bystander: User) -> User:
    """Store an account in addition to the bystander's, and return it."""
    user = User(ids.next(), "ada", "ada@example.com", "hash", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))
    await SqlUserStore(database).add(user)
    return user


async def opened(sessions: SqlSessionStore, user: User, now_ms: int = START) -> bytes:
    """Open a session with its first refresh token, and return the session's id."""
    identity = ids.next()
    await sessions.open(NewSession(identity, user.id, user.password_hash, FAMILY, FIRST, now_ms), LIMITS)
    return identity


async def rotated(
    sessions: SqlSessionStore, session: bytes, presented: bytes, replacement: bytes, now_ms: int, family: bytes = FAMILY
) -> Rotation:
    """Exchange the refresh token whose hash is ``presented`` for the one with the hash ``replacement``."""
    return await sessions.rotate(RefreshHashes(session, family, presented, replacement, now_ms), LIMITS)


async def bearer(sessions: SqlSessionStore, user_id: bytes, session: bytes, now_ms: int = START) -> User | None:
    """Return the user whom a session's access token authenticates, or None."""
    return await sessions.bearer(user_id, session, now_ms, LIMITS)


async def test_an_open_session_has_its_user_as_bearer(sessions: SqlSessionStore, ada: User) -> None:
    """An open session authenticates its own user only."""
    session = await opened(sessions, ada)
    assert await bearer(sessions, ada.id, session) == ada
    assert await bearer(sessions, ids.next(), session) is None
    await sessions.close(ada.id, session)
    assert await bearer(sessions, ada.id, session) is None


async def test_the_current_token_is_replaced(sessions: SqlSessionStore, ada: User) -> None:
    """A rotation replaces the presented hash, and the next rotation accepts the replacement."""
    session = await opened(sessions, ada)
    assert await rotated(sessions, session, FIRST, SECOND, START + 1) == (ada, False)
    assert await rotated(sessions, session, SECOND, THIRD, START + 2) == (ada, False)


async def test_the_token_before_is_good_for_the_time_of_grace(sessions: SqlSessionStore, ada: User) -> None:
    """A replaced token works for a grace period, since a reply may get lost; its use does not extend the period."""
    session = await opened(sessions, ada)
    await rotated(sessions, session, FIRST, SECOND, START)
    assert await rotated(sessions, session, FIRST, THIRD, START + 10) == (ada, False)
    assert await rotated(sessions, session, FIRST, FOURTH, START + 11) == (ada, True)


async def test_reuse_ends_the_session(sessions: SqlSessionStore, ada: User) -> None:
    """If a replaced token is used after its successor was used, the session ends."""
    session = await opened(sessions, ada)
    await rotated(sessions, session, FIRST, SECOND, START)
    await rotated(sessions, session, FIRST, THIRD, START + 1)
    await rotated(sessions, session, THIRD, FOURTH, START + 2)
    assert await rotated(sessions, session, FIRST, FIRST, START + 3) == (ada, True)
    assert await bearer(sessions, ada.id, session) is None
    assert await rotated(sessions, session, FOURTH, FIRST, START + 4) == (None, False)


async def test_a_session_ends_idle_and_of_age(sessions: SqlSessionStore, ada: User) -> None:
    """A session ends if it is not used for the idle time, and at its maximum age even if it is used."""
    idle, used = await opened(sessions, ada), await opened(sessions, ada)
    assert await rotated(sessions, idle, FIRST, SECOND, START + 1_001) == (None, False)
    for step in range(1, 6):
        assert await rotated(sessions, used, FIRST, FIRST, START + step * 1_000) == (ada, False)
    assert await rotated(sessions, used, FIRST, FIRST, START + 5_001) == (None, False)


async def test_an_expired_session_has_no_bearer(sessions: SqlSessionStore, ada: User) -> None:
    """A session beyond its idle time or its maximum age authenticates nobody."""
    idle, used = await opened(sessions, ada), await opened(sessions, ada)
    assert await bearer(sessions, ada.id, idle, START + 1_000) == ada
    assert await bearer(sessions, ada.id, idle, START + 1_001) is None
    for step in range(1, 6):
        assert await rotated(sessions, used, FIRST, FIRST, START + step * 1_000) == (ada, False)
    assert await bearer(sessions, ada.id, used, START + 5_000) == ada
    assert await bearer(sessions, ada.id, used, START + 5_001) is None


async def test_a_sessions_id_alone_does_not_end_it(sessions: SqlSessionStore, ada: User) -> None:
    """A token with the session's id, but without the secret that its tokens share, is refused; the session goes on."""
    session = await opened(sessions, ada)
    for presented in (FIRST, SECOND):
        assert await rotated(sessions, session, presented, THIRD, START + 1, family=OTHER) == (None, False)
    assert await rotated(sessions, session, FIRST, SECOND, START + 2) == (ada, False)


async def test_a_session_of_a_release_without_token_families_stays_valid(
    database: Database, sessions: SqlSessionStore, ada: User
) -> None:
    """A session stored without a token family accepts its token with any family; an unknown token counts as reused."""
    session = await opened(sessions, ada)
    await database.write(lambda connection: connection.execute(text("UPDATE sessions SET family_hash = NULL")))
    assert await rotated(sessions, session, FIRST, SECOND, START, family=OTHER) == (ada, False)
    assert await rotated(sessions, session, THIRD, FOURTH, START, family=FAMILY) == (ada, True)


@pytest.mark.parametrize("first", [SECOND, THIRD], ids=["first's", "second's"])
async def test_two_refreshes_at_once_are_two_chains(sessions: SqlSessionStore, ada: User, first: bytes) -> None:
    """If two tabs refresh with the same token, both continue, each with its own successor."""
    session = await opened(sessions, ada)
    both = await asyncio.gather(*(rotated(sessions, session, FIRST, each, START) for each in (SECOND, THIRD)))
    assert both == [(ada, False), (ada, False)]
    tabs = [first, THIRD if first == SECOND else SECOND]
    for step in range(1, 5):
        for tab, presented in enumerate(tabs):
            tabs[tab] = sha256(presented).digest()
            assert await rotated(sessions, session, presented, tabs[tab], START + 500 * step) == (ada, False)


async def test_reuse_within_one_chain_ends_them_all(sessions: SqlSessionStore, ada: User) -> None:
    """Reuse of a token in one tab ends the session for all tabs."""
    session = await opened(sessions, ada)
    await rotated(sessions, session, FIRST, SECOND, START)
    await rotated(sessions, session, FIRST, THIRD, START)
    await rotated(sessions, session, SECOND, FOURTH, START + 100)
    assert await rotated(sessions, session, SECOND, FIRST, START + 111) == (ada, True)
    assert await rotated(sessions, session, THIRD, FIRST, START + 112) == (None, False)


async def test_chains_are_bounded(database: Database, sessions: SqlSessionStore, ada: User) -> None:
    """A session stores a bounded number of refresh tokens, even if lost replies leave many of them unused."""
    session = await opened(sessions, ada)
    newest = FIRST
    for step in range(200):
        lost, newest_after = (sha256(bytes([step, which])).digest() for which in range(2))
        assert await rotated(sessions, session, newest, lost, START + step) == (ada, False)
        assert await rotated(sessions, session, newest, newest_after, START + step) == (ada, False)
        newest = newest_after
    size = text("SELECT max(length(chains)) FROM sessions")
    assert await database.read(lambda connection: connection.scalar(size)) <= 16 * 72


async def test_a_session_rotated_by_the_release_before_goes_on(
    database: Database, sessions: SqlSessionStore, ada: User
) -> None:
    """If the previous release has replaced a session's refresh token, this release accepts the new token."""
    session = await opened(sessions, ada)
    await rotated(sessions, session, FIRST, SECOND, START)
    change = text("UPDATE sessions SET refresh_hash = :new, previous_hash = :old, rotated_ms = :now WHERE id = :id")
    parameters = {"id": session, "new": THIRD, "old": SECOND, "now": START + 100}
    await database.write(lambda connection: connection.execute(change, parameters))
    assert await rotated(sessions, session, THIRD, FOURTH, START + 200) == (ada, False)
    assert await rotated(sessions, session, SECOND, FIRST, START + 201) == (ada, True)


async def test_an_unknown_token_writes_nothing(
    database: Database, sessions: SqlSessionStore, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh with an unknown session or secret writes nothing to the database."""
    session = await opened(sessions, ada)
    monkeypatch.setattr(database, "write", None)
    assert await rotated(sessions, ids.next(), FIRST, SECOND, START) == (None, False)
    assert await rotated(sessions, session, FIRST, SECOND, START, family=OTHER) == (None, False)


async def test_a_login_does_not_survive_a_new_password(
    database: Database, sessions: SqlSessionStore, ada: User
) -> None:
    """A login that was verified against an old password hash opens no session."""
    asking = await opened(sessions, ada)
    await SqlUserStore(database).set_password(ada.id, "hash", "new", asking)
    with pytest.raises(Unauthorized):
        await opened(sessions, ada)
    assert await opened(sessions, replace(ada, password_hash="new"))


async def test_sessions_of_a_user_are_bounded(sessions: SqlSessionStore, ada: User) -> None:
    """Opening a session above the limit ends the least recently used one."""
    first, second, third = [await opened(sessions, ada, START + step) for step in range(3)]
    await rotated(sessions, first, FIRST, SECOND, START + 10)
    fourth = await opened(sessions, ada, START + 11)
    assert [await bearer(sessions, ada.id, each) for each in (first, second, third, fourth)] == [ada, None, ada, ada]


async def test_an_expired_session_goes_before_those_that_are_open(sessions: SqlSessionStore, ada: User) -> None:
    """At the limit, a session past its maximum age goes first, even if it was used more recently than the others."""
    expired = await opened(sessions, ada)
    for step in range(1, 6):
        assert await rotated(sessions, expired, FIRST, FIRST, START + step * 1_000) == (ada, False)
    others = [await opened(sessions, ada, START + 4_500) for _ in range(2)]
    others.append(await opened(sessions, ada, START + 5_001))
    assert [await bearer(sessions, ada.id, each, START + 5_001) for each in others] == [ada] * 3


async def test_a_new_password_ends_the_other_sessions(database: Database, sessions: SqlSessionStore, ada: User) -> None:
    """Changing the password ends all sessions except the one that changed it."""
    kept, ended = await opened(sessions, ada), await opened(sessions, ada)
    users = SqlUserStore(database)
    await users.set_password(ada.id, "hash", "new", kept)
    changed = await bearer(sessions, ada.id, kept)
    assert changed is not None
    assert changed.password_hash == "new"
    assert await bearer(sessions, ada.id, ended) is None


@pytest.mark.parametrize("how", ["logged out", "changed already", "somebody else's"])
async def test_a_password_is_changed_by_an_open_session_that_knew_it(
    database: Database, sessions: SqlSessionStore, ada: User, bystander: User, how: str
) -> None:
    """A password change raises Unauthorized if its session is closed or another user's, or the old hash is wrong."""
    users = SqlUserStore(database)
    session, other = await opened(sessions, ada), await opened(sessions, ada)
    if how == "logged out":
        await sessions.close(ada.id, session)
    (foreign,) = await sessions.of_user(bystander.id, START, LIMITS)
    asking = foreign.id if how == "somebody else's" else session
    with pytest.raises(Unauthorized):
        await users.set_password(ada.id, "older" if how == "changed already" else "hash", "new", asking)
    assert await bearer(sessions, ada.id, other) == ada


async def test_an_account_takes_its_sessions_with_it(database: Database, sessions: SqlSessionStore, ada: User) -> None:
    """A refresh token of a deleted account is refused."""
    session = await opened(sessions, ada)
    await SqlUserStore(database).delete("ada", KEEPING)
    assert await rotated(sessions, session, FIRST, SECOND, START) == (None, False)


async def test_all_sessions_end_together(sessions: SqlSessionStore, ada: User) -> None:
    """Closing all sessions of a user leaves none open."""
    both = [await opened(sessions, ada), await opened(sessions, ada)]
    await sessions.close_all(ada.id)
    assert [await bearer(sessions, ada.id, session) for session in both] == [None, None]


async def test_open_sessions_are_listed(sessions: SqlSessionStore, ada: User, bystander: User) -> None:
    """A user's open sessions are listed with their times and devices, the most recently used first."""
    desk, phone = Device("192.0.2.7", "desk"), Device("2001:db8::/64", "phone")
    first, second = ids.next(), ids.next()
    await sessions.open(NewSession(first, ada.id, "hash", FAMILY, FIRST, START, device=desk), LIMITS)
    await sessions.open(NewSession(second, ada.id, "hash", FAMILY, FIRST, START + 1, device=desk), LIMITS)
    third = await opened(sessions, ada, START + 2)
    await sessions.rotate(RefreshHashes(first, FAMILY, FIRST, SECOND, START + 500, phone), LIMITS)
    assert await sessions.of_user(ada.id, START + 501, LIMITS) == [
        StoredSession(first, START, START + 500, phone),
        StoredSession(third, START + 2, START + 2, None),
        StoredSession(second, START + 1, START + 1, desk),
    ]
    expired = START + 2 + LIMITS.idle_ms + 1
    assert [each.id for each in await sessions.of_user(ada.id, expired, LIMITS)] == [first]


async def test_nobody_elses_session_can_be_ended(sessions: SqlSessionStore, ada: User, bystander: User) -> None:
    """A session can be ended by its own user only, and only once."""
    session = await opened(sessions, ada)
    with pytest.raises(NotFound):
        await sessions.close(bystander.id, session)
    assert await bearer(sessions, ada.id, session) == ada
    await sessions.close(ada.id, session)
    with pytest.raises(NotFound):
        await sessions.close(ada.id, session)
