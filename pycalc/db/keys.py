"""The SQL of the API keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from pycalc.db.base import KeyBearer, KeyUse
from pycalc.db.revocations import revoke
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import api_keys, sessions, users
from pycalc.db.users import user_of
from pycalc.errors import Conflict, InvalidToken, NotFound
from pycalc.models.auth import StoredKey
from pycalc.models.limits import KeyLimits

_FIELDS = [field.name for field in fields(StoredKey) if field.name != "limits"]  # the columns of the same names


def _key_of(row: Row[Any]) -> StoredKey:
    limits = KeyLimits.model_construct(  # checked before they were stored
        rate_limit=row.rate_limit, compute=row.compute_quota, digits=row.digits_quota
    )
    return StoredKey(**{name: getattr(row, name) for name in _FIELDS}, limits=limits)


class SqlKeyStore(SqlStore):
    """API keys in SQL. The method ``bearer`` uses ``lookups``."""

    @transaction
    def add(
        self, connection: Connection, key: StoredKey, key_hash: bytes, limit: int, session_id: bytes | None = None
    ) -> None:
        owner = select(users.c.id).where((users.c.id == key.user_id) & ~users.c.disabled).with_for_update()
        if connection.scalar(owner) is None:
            raise InvalidToken("The account was deleted or disabled meanwhile.")
        asking = select(sessions.c.id).where((sessions.c.id == session_id) & (sessions.c.user_id == key.user_id))
        if session_id is not None and connection.scalar(asking.with_for_update()) is None:
            raise InvalidToken("The session has ended.")
        of_user = select(func.count()).select_from(api_keys).where(api_keys.c.user_id == key.user_id)
        if (connection.scalar(of_user) or 0) >= limit:
            raise Conflict(f"An account has at most {limit} keys: delete one first.")
        row = insert(api_keys).values(
            key_hash=key_hash,
            rate_limit=key.limits.rate_limit,
            compute_quota=key.limits.compute,
            digits_quota=key.limits.digits,
            **{name: getattr(key, name) for name in _FIELDS},
        )
        connection.execute(row)

    async def of_user(self, user_id: bytes) -> list[StoredKey]:
        query = select(api_keys).where(api_keys.c.user_id == user_id).order_by(api_keys.c.id)
        return await self._list(query, _key_of)

    async def bearer(self, key_hash: bytes, now_ms: int) -> KeyBearer | None:
        def find(connection: Connection) -> KeyBearer | None:
            row = connection.execute(select(api_keys).where(api_keys.c.key_hash == key_hash)).one_or_none()
            if row is None or (row.expires_ms is not None and row.expires_ms <= now_ms):
                return None
            owner = connection.execute(select(users).where(users.c.id == row.user_id)).one_or_none()
            return None if owner is None or owner.disabled else KeyBearer(user_of(owner), _key_of(row))

        return await self._lookups.read(find)

    async def note(self, uses: Sequence[KeyUse]) -> None:
        earlier = (api_keys.c.id == bindparam("of")) & (func.coalesce(api_keys.c.used_ms, 0) < bindparam("at"))
        # Concurrent processes lock rows in the same order, which rules out deadlocks.
        rows = [{"of": key, "at": ms, "used_ms": ms, "used_from": address} for key, ms, address in sorted(uses)]
        await self._database.write(lambda connection: connection.execute(update(api_keys).where(earlier), rows))

    @transaction
    def remove(self, connection: Connection, user_id: bytes, key_id: bytes) -> None:
        query = delete(api_keys).where((api_keys.c.id == key_id) & (api_keys.c.user_id == user_id))
        if connection.execute(query).rowcount != 1:
            raise NotFound("There is no such key.")
        revoke(connection, user_id)
