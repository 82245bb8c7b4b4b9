"""The sessions' SQL."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from pycalc.db.base import Database, NewSession, Rotation, SessionLimits
from pycalc.db.revocations import revoke
from pycalc.db.tables import sessions, users
from pycalc.db.users import user_of
from pycalc.errors import Unauthorized
from pycalc.models.auth import User


def _open(connection: Connection, session: NewSession, limits: SessionLimits) -> None:
    owner = select(users.c.id).where((users.c.id == session.user_id) & ~users.c.disabled).with_for_update()
    if connection.scalar(owner) is None:
        raise Unauthorized("The account does not exist any more.")
    of_user = sessions.c.user_id == session.user_id
    stale = (sessions.c.created_ms < session.now_ms - limits.absolute_ms) | (
        sessions.c.used_ms < session.now_ms - limits.idle_ms
    )
    connection.execute(delete(sessions).where(of_user & stale))
    kept = select(sessions.c.id).where(of_user).order_by(sessions.c.used_ms.desc()).limit(limits.per_user - 1)
    dropped = connection.execute(delete(sessions).where(of_user & sessions.c.id.not_in(kept)))
    connection.execute(
        insert(sessions).values(
            id=session.id,
            user_id=session.user_id,
            refresh_hash=session.refresh_hash,
            created_ms=session.now_ms,
            used_ms=session.now_ms,
            rotated_ms=session.now_ms,
        )
    )
    if dropped.rowcount:
        revoke(connection, session.user_id)


def _rotate(
    connection: Connection, session_id: bytes, presented: bytes, replacement: bytes, now_ms: int, limits: SessionLimits
) -> Rotation:
    of_session = sessions.c.id == session_id
    session = connection.execute(select(sessions).where(of_session).with_for_update()).one_or_none()
    if session is None:
        return Rotation(None, False)
    change = update(sessions).where(of_session).values(refresh_hash=replacement, used_ms=now_ms)
    alive = now_ms - session.created_ms <= limits.absolute_ms and now_ms - session.used_ms <= limits.idle_ms
    if alive and session.refresh_hash == presented:
        connection.execute(change.values(previous_hash=presented, rotated_ms=now_ms))
    elif alive and session.previous_hash == presented and now_ms - session.rotated_ms <= limits.grace_ms:
        connection.execute(change)
    else:
        _close(connection, of_session)
        return Rotation(_owner(connection, session.user_id) if alive else None, alive)
    return Rotation(_owner(connection, session.user_id), False)


def _owner(connection: Connection, user_id: bytes) -> User | None:
    """Return a session's user, None for one that is disabled."""
    query = select(users).where((users.c.id == user_id) & ~users.c.disabled)
    return user_of(connection.execute(query).one_or_none())


def _close(connection: Connection, which: ColumnElement[bool]) -> None:
    """End sessions, all of one user."""
    ended = connection.scalars(delete(sessions).where(which).returning(sessions.c.user_id)).all()
    if ended:
        revoke(connection, ended[0])


class SqlSessionStore:
    """Sessions in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, session: NewSession, limits: SessionLimits) -> None:
        """See SessionStore."""
        await self._database.write(lambda connection: _open(connection, session, limits))

    async def bearer(self, user_id: bytes, session_id: bytes) -> User | None:
        """See SessionStore."""
        query = (
            select(users)
            .join(sessions, sessions.c.user_id == users.c.id)
            .where((sessions.c.id == session_id) & (users.c.id == user_id) & ~users.c.disabled)
        )
        return await self._database.read(lambda connection: user_of(connection.execute(query).one_or_none()))

    async def rotate(
        self, session_id: bytes, presented: bytes, replacement: bytes, now_ms: int, limits: SessionLimits
    ) -> Rotation:
        """See SessionStore."""
        return await self._database.write(
            lambda connection: _rotate(connection, session_id, presented, replacement, now_ms, limits)
        )

    async def close(self, session_id: bytes) -> None:
        """See SessionStore."""
        await self._database.write(lambda connection: _close(connection, sessions.c.id == session_id))

    async def close_all(self, user_id: bytes) -> None:
        """See SessionStore."""
        await self._database.write(lambda connection: _close(connection, sessions.c.user_id == user_id))
