"""The SQL of the API keys."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from pycalc.db.base import Database, KeyBearer
from pycalc.db.revocations import revoke
from pycalc.db.tables import api_keys, users
from pycalc.db.users import user_of
from pycalc.errors import Conflict, InvalidToken, NotFound
from pycalc.models.auth import StoredKey

_USE_STEP_MS = 300_000  # precision of the stored last use, so that not every request writes


def _key(row: Row[tuple[object, ...]]) -> StoredKey:
    return StoredKey(row.id, row.user_id, row.name, row.prefix, row.created_ms, row.expires_ms, row.used_ms)


def _add(connection: Connection, key: StoredKey, key_hash: bytes, limit: int) -> None:
    owner = select(users.c.id).where(users.c.id == key.user_id).with_for_update()
    if connection.scalar(owner) is None:
        raise InvalidToken("The account no longer exists.")
    of_user = select(func.count()).select_from(api_keys).where(api_keys.c.user_id == key.user_id)
    if (connection.scalar(of_user) or 0) >= limit:
        raise Conflict(f"An account has at most {limit} keys: delete one first.")
    connection.execute(
        insert(api_keys).values(
            id=key.id,
            user_id=key.user_id,
            name=key.name,
            prefix=key.prefix,
            key_hash=key_hash,
            created_ms=key.created_ms,
            expires_ms=key.expires_ms,
        )
    )


class _Found(NamedTuple):
    bearer: KeyBearer
    used_ms: int | None


def _find(connection: Connection, key_hash: bytes, now_ms: int) -> _Found | None:
    row = connection.execute(select(api_keys).where(api_keys.c.key_hash == key_hash)).one_or_none()
    if row is None or (row.expires_ms is not None and row.expires_ms <= now_ms):
        return None
    owner = user_of(connection.execute(select(users).where(users.c.id == row.user_id)).one_or_none())
    if owner is None or owner.disabled:
        return None
    return _Found(KeyBearer(owner, row.id, row.expires_ms), row.used_ms)


def _remove(connection: Connection, user_id: bytes, key_id: bytes) -> None:
    removed = connection.execute(delete(api_keys).where((api_keys.c.id == key_id) & (api_keys.c.user_id == user_id)))
    if removed.rowcount != 1:
        raise NotFound("There is no such key.")
    revoke(connection, user_id)


class SqlKeyStore:
    """API keys in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: StoredKey, key_hash: bytes, limit: int) -> None:
        await self._database.write(lambda connection: _add(connection, key, key_hash, limit))

    async def of_user(self, user_id: bytes) -> list[StoredKey]:
        query = select(api_keys).where(api_keys.c.user_id == user_id).order_by(api_keys.c.id)
        return await self._database.read(lambda connection: [_key(row) for row in connection.execute(query)])

    async def use(self, key_hash: bytes, now_ms: int) -> KeyBearer | None:
        found = await self._database.read(lambda connection: _find(connection, key_hash, now_ms))
        if found is None:
            return None
        if found.used_ms is None or found.used_ms <= now_ms - _USE_STEP_MS:
            use = update(api_keys).where(api_keys.c.id == found.bearer.key_id).values(used_ms=now_ms)
            await self._database.write(lambda connection: connection.execute(use))
        return found.bearer

    async def remove(self, user_id: bytes, key_id: bytes) -> None:
        await self._database.write(lambda connection: _remove(connection, user_id, key_id))
