"""The SQL of the password resets."""

from __future__ import annotations

from sqlalchemy import Connection, Select, delete, insert, select, update

from pycalc.db.revocations import end_sessions
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import password_resets, users
from pycalc.db.users import lock_admins, user_of
from pycalc.errors import NotFound, Unauthorized
from pycalc.models.auth import NO_PASSWORD, User

_REFUSAL = "The password reset was used or replaced meanwhile, or the account is disabled."


class SqlPasswordResetStore(SqlStore):
    """Password resets in SQL."""

    @transaction
    def offer(
        self,
        connection: Connection,
        user_id: bytes,
        token_hash: bytes,
        expires_ms: int,
        granted_by: bytes | None = None,
    ) -> None:
        if granted_by is not None:
            lock_admins(connection, granted_by)
        if connection.scalar(select(users.c.id).where(users.c.id == user_id).with_for_update()) is None:
            raise NotFound("There is no such user.")
        connection.execute(delete(password_resets).where(password_resets.c.user_id == user_id))
        row = {"user_id": user_id, "token_hash": token_hash, "expires_ms": expires_ms}
        connection.execute(insert(password_resets).values(row))

    async def owner(self, token_hash: bytes, now_ms: int) -> User | None:
        return await self._row(_owner(token_hash, now_ms), user_of)

    @transaction
    def use(self, connection: Connection, token_hash: bytes, now_ms: int, password_hash: str) -> None:
        owner = connection.execute(_owner(token_hash, now_ms)).one_or_none()
        if owner is None:
            raise Unauthorized(_REFUSAL)
        # Every writer locks the account first. Of two uses at once, the second finds the token gone.
        connection.execute(update(users).where(users.c.id == owner.id).values(password_hash=password_hash))
        of_token = password_resets.c.token_hash == token_hash
        if connection.execute(delete(password_resets).where(of_token)).rowcount != 1:
            raise Unauthorized(_REFUSAL)
        end_sessions(connection, owner.id)


def _owner(token_hash: bytes, now_ms: int) -> Select[tuple[object, ...]]:
    valid = (password_resets.c.token_hash == token_hash) & (password_resets.c.expires_ms > now_ms)
    joined = select(users).join(password_resets, password_resets.c.user_id == users.c.id)
    return joined.where(valid & ~users.c.disabled & (users.c.password_hash != NO_PASSWORD))
