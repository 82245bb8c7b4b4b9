"""The SQL of the sessions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from pycalc.db.base import NewSession, RefreshHashes, Rotation, SessionLimits
from pycalc.db.revocations import end_sessions, revoke
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import sessions, users
from pycalc.db.users import lock_admins, user_of
from pycalc.errors import NotFound, Unauthorized
from pycalc.models.auth import Device, StoredSession, User


def _expired(now_ms: int, limits: SessionLimits) -> ColumnElement[bool]:
    return (sessions.c.created_ms < now_ms - limits.absolute_ms) | (sessions.c.used_ms < now_ms - limits.idle_ms)


def _session_of(refresh: RefreshHashes) -> ColumnElement[bool]:
    """Return the condition for the session of a refresh token."""
    # Sessions of early releases have no family.
    family = sessions.c.family_hash.is_(None) | (sessions.c.family_hash == refresh.family_hash)
    return (sessions.c.id == refresh.session_id) & family


_HASH_BYTES = 32
_ENTRY_BYTES = 2 * _HASH_BYTES + 8  # a valid token, its predecessor, and the time of the replacement
_CHAINS = 16  # a session has a valid token for each tab or lost reply; above the limit the oldest is dropped
_NEVER_MS = 0


class _Replaced(NamedTuple):
    """The predecessor of a valid refresh token."""

    token: bytes  # its hash
    at_ms: int  # when it was replaced, or _NEVER_MS if it must not be used again


_Chains = dict[bytes, _Replaced]  # by the hash of the valid token


def _unpack(session: Row[Any]) -> _Chains:
    """Return a session's valid refresh tokens, which are in ``chains`` and in columns of earlier releases."""
    packed, size = session.chains or b"", _HASH_BYTES
    entries = [packed[start : start + _ENTRY_BYTES] for start in range(0, len(packed), _ENTRY_BYTES)]
    chains = {each[:size]: _Replaced(each[size : 2 * size], int.from_bytes(each[2 * size :])) for each in entries}
    before = _Replaced(bytes(size), _NEVER_MS)
    if session.previous_hash is not None:
        before = _Replaced(session.previous_hash, session.rotated_ms)
        chains.pop(session.previous_hash, None)
    for live in filter(None, (session.refresh_hash, session.sibling_hash)):
        chains.setdefault(live, before)
    return chains


def _rotate(connection: Connection, refresh: RefreshHashes, limits: SessionLimits) -> Rotation:
    of_session, now_ms = _session_of(refresh), refresh.now_ms
    session = connection.execute(select(sessions).where(of_session).with_for_update()).one_or_none()
    if session is None:
        return Rotation(None, False)
    enabled = (users.c.id == session.user_id) & ~users.c.disabled
    row = connection.execute(select(users).where(enabled)).one_or_none()
    user = None if row is None else user_of(row)
    alive = now_ms - session.created_ms <= limits.absolute_ms and now_ms - session.used_ms <= limits.idle_ms
    chains, change = _unpack(session), dict[str, Any]()
    replaced = {before.token: before for before in chains.values() if now_ms - before.at_ms <= limits.grace_ms}
    if alive and refresh.presented in chains:
        used = chains.pop(refresh.presented).token  # replaced by the presented token: its use from now on is reuse
        chains = {
            live: before._replace(at_ms=_NEVER_MS) if before.token == used else before
            for live, before in chains.items()
        }
        chains[refresh.replacement] = _Replaced(refresh.presented, now_ms)
        change = {"refresh_hash": refresh.replacement, "previous_hash": refresh.presented, "sibling_hash": None}
        change["rotated_ms"] = now_ms
    elif alive and refresh.presented in replaced:
        chains[refresh.replacement] = replaced[refresh.presented]
        if refresh.presented == session.previous_hash:
            change = {"sibling_hash": refresh.replacement}
    else:
        connection.execute(delete(sessions).where(of_session))
        revoke(connection, session.user_id)
        return Rotation(user if alive else None, alive)
    newest = list(chains.items())[-_CHAINS:]
    packed = b"".join(live + before.token + before.at_ms.to_bytes(8) for live, before in newest)
    change |= {"used_ms": now_ms, "chains": packed, **_columns_of(refresh.device)}
    connection.execute(update(sessions).where(of_session).values(**change))
    return Rotation(user, False)


def _columns_of(device: Device | None) -> dict[str, str | None]:
    return {"address": None, "client": None} if device is None else asdict(device)


class SqlSessionStore(SqlStore):
    """Sessions in SQL. The method ``rotate`` uses ``lookups``."""

    @transaction
    def open(self, connection: Connection, session: NewSession, limits: SessionLimits) -> None:
        verified = users.c.id == session.user_id
        if session.password_hash is not None:
            verified &= (users.c.password_hash == session.password_hash) & (users.c.totp == session.totp)
        if connection.scalar(select(users.c.id).where(verified & ~users.c.disabled).with_for_update()) is None:
            raise Unauthorized("The account is gone, or its password or second factor was changed meanwhile.")
        of_user = sessions.c.user_id == session.user_id
        connection.execute(delete(sessions).where(of_user & _expired(session.now_ms, limits)))
        kept = select(sessions.c.id).where(of_user).order_by(sessions.c.used_ms.desc()).limit(limits.per_user - 1)
        dropped = connection.execute(delete(sessions).where(of_user & sessions.c.id.not_in(kept)))
        row = insert(sessions).values(
            id=session.id,
            user_id=session.user_id,
            family_hash=session.family_hash,
            refresh_hash=session.refresh_hash,
            created_ms=session.now_ms,
            used_ms=session.now_ms,
            rotated_ms=session.now_ms,
            **_columns_of(session.device),
        )
        connection.execute(row)
        connection.execute(update(users).where(users.c.id == session.user_id).values(signed_in_ms=session.now_ms))
        if dropped.rowcount:
            revoke(connection, session.user_id)

    async def bearer(self, user_id: bytes, session_id: bytes, now_ms: int, limits: SessionLimits) -> User | None:
        open_one = (sessions.c.id == session_id) & ~_expired(now_ms, limits)
        owner = select(users).join(sessions, sessions.c.user_id == users.c.id)
        return await self._row(owner.where(open_one & (users.c.id == user_id) & ~users.c.disabled), user_of)

    async def rotate(self, refresh: RefreshHashes, limits: SessionLimits) -> Rotation:
        known = select(sessions.c.id).where(_session_of(refresh))
        if await self._lookups.read(lambda connection: connection.scalar(known)) is None:
            return Rotation(None, False)  # a forged token causes no write
        return await self._lookups.write(lambda connection: _rotate(connection, refresh, limits))

    async def of_user(self, user_id: bytes, now_ms: int, limits: SessionLimits) -> list[StoredSession]:
        def stored(row: Row[Any]) -> StoredSession:
            device = None if row.address is None else Device(row.address, row.client)
            return StoredSession(row.id, row.created_ms, row.used_ms, device)

        mine = (sessions.c.user_id == user_id) & ~_expired(now_ms, limits)
        query = select(sessions).where(mine).order_by(sessions.c.used_ms.desc(), sessions.c.id.desc())
        return await self._list(query, stored)

    @transaction
    def close(self, connection: Connection, user_id: bytes, session_id: bytes) -> None:
        mine = (sessions.c.id == session_id) & (sessions.c.user_id == user_id)
        if connection.execute(delete(sessions).where(mine)).rowcount != 1:
            raise NotFound("There is no such session.")
        revoke(connection, user_id)

    @transaction
    def close_all(self, connection: Connection, user_id: bytes, granted_by: bytes | None = None) -> None:
        if granted_by is not None:
            lock_admins(connection, granted_by)
        end_sessions(connection, user_id)
