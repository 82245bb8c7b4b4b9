"""The SQL of the deleted accounts."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, tuple_, update

from pycalc.db.base import DeletedAccount
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import deleted_accounts, history, retired_names, usage
from pycalc.db.users import NOBODY
from pycalc.models.auth import DELETED_NAME


class SqlDeletedAccountStore(SqlStore):
    """Deleted accounts in SQL."""

    async def following(self, user_id: bytes) -> DeletedAccount | None:
        later = select(deleted_accounts).where(deleted_accounts.c.user_id > user_id)
        return await self._row(later.order_by(deleted_accounts.c.user_id).limit(1), DeletedAccount._make)

    @transaction
    def anonymize(self, connection: Connection, user_id: bytes, after: bytes, limit: int) -> bytes | None:
        later = select(history.c.id).where((history.c.user_id == user_id) & (history.c.id > after))
        # Concurrent processes lock rows in the same order, which rules out deadlocks.
        ids = connection.scalars(later.order_by(history.c.id).limit(limit).with_for_update()).all()
        connection.execute(update(history).where(history.c.id.in_(ids)).values(username=DELETED_NAME))
        return ids[-1] if ids else None

    async def erase_totals(self, user_id: bytes, limit: int) -> int:
        of_user = usage.c.user_id == user_id
        some = select(usage.c.day, usage.c.operation).where(of_user).limit(limit)
        return await self._change(delete(usage).where(of_user & tuple_(usage.c.day, usage.c.operation).in_(some)))

    async def finish(self, user_id: bytes) -> None:
        await self._change(delete(deleted_accounts).where(deleted_accounts.c.user_id == user_id))

    async def release_names(self, now_ms: int, limit: int) -> int:
        ended = (retired_names.c.user_id == NOBODY) & (retired_names.c.reserved_until_ms <= now_ms)
        some = select(retired_names.c.username_key).where(ended).limit(limit)
        return await self._change(delete(retired_names).where(ended & retired_names.c.username_key.in_(some)))
