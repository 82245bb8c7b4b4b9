"""The SQL of the second factors."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from pycalc.db.base import StoredTotp
from pycalc.db.revocations import end_sessions
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import sessions, totp, users
from pycalc.db.users import lock_admins
from pycalc.errors import Conflict, InvalidToken, NotFound

_HASH_BYTES = 32


def _locked(connection: Connection, user_id: bytes) -> bool | None:
    """Lock an account. Return whether it has a second factor, or None if there is no such account."""
    return connection.scalar(select(users.c.totp).where(users.c.id == user_id).with_for_update())


class SqlTotpStore(SqlStore):
    """Second factors in SQL. The hashes of the recovery codes are packed into one column."""

    @transaction
    def offer(self, connection: Connection, user_id: bytes, secret: bytes) -> None:
        enrolled = _locked(connection, user_id)
        if enrolled is None:
            raise InvalidToken("The account does not exist any more.")
        if enrolled:
            raise Conflict("The account has a second factor: disable it first.")
        connection.execute(delete(totp).where(totp.c.user_id == user_id))
        connection.execute(insert(totp).values(user_id=user_id, secret=secret))

    async def of_user(self, user_id: bytes) -> StoredTotp | None:
        query = select(totp.c.secret, totp.c.last_step).where(totp.c.user_id == user_id)
        return await self._row(query, StoredTotp._make)

    @transaction
    def confirm(
        self,
        connection: Connection,
        user_id: bytes,
        secret: bytes,
        step: int,
        recovery_hashes: Sequence[bytes],
        session_id: bytes,
    ) -> None:
        _locked(connection, user_id)
        asking = select(sessions.c.id).where((sessions.c.user_id == user_id) & (sessions.c.id == session_id))
        if connection.scalar(asking.with_for_update()) is None:
            raise InvalidToken("The session has ended.")
        offered = (totp.c.user_id == user_id) & (totp.c.secret == secret) & totp.c.last_step.is_(None)
        confirmed = update(totp).where(offered).values(last_step=step, recovery=b"".join(recovery_hashes))
        if connection.execute(confirmed).rowcount != 1:
            raise Conflict("The enrolment was confirmed or replaced meanwhile.")
        connection.execute(update(users).where(users.c.id == user_id).values(totp=True))
        end_sessions(connection, user_id, session_id)

    async def use_step(self, user_id: bytes, step: int, before: bytes, after: bytes) -> bool:
        newer = (totp.c.user_id == user_id) & (totp.c.secret == before) & (totp.c.last_step < step)
        return await self._change(update(totp).where(newer).values(last_step=step, secret=after)) == 1

    @transaction
    def use_recovery(self, connection: Connection, user_id: bytes, code_hash: bytes) -> bool:
        query = select(totp.c.recovery).where(totp.c.user_id == user_id).with_for_update()
        packed = connection.scalar(query) or b""
        hashes = [packed[start : start + _HASH_BYTES] for start in range(0, len(packed), _HASH_BYTES)]
        left = [known for known in hashes if not hmac.compare_digest(known, code_hash)]
        if len(left) == len(hashes):
            return False
        connection.execute(update(totp).where(totp.c.user_id == user_id).values(recovery=b"".join(left)))
        return True

    @transaction
    def remove(
        self, connection: Connection, user_id: bytes, session_id: bytes | None, granted_by: bytes | None = None
    ) -> None:
        if granted_by is not None:
            lock_admins(connection, granted_by)
        if not _locked(connection, user_id):
            raise NotFound("The account has no second factor.")
        connection.execute(delete(totp).where(totp.c.user_id == user_id))
        connection.execute(update(users).where(users.c.id == user_id).values(totp=False))
        end_sessions(connection, user_id, session_id)
