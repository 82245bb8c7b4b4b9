"""The SQL of the amounts that users and API keys have used of their quotas."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select

from pycalc.db.base import QuotaTotal, QuotaUse
from pycalc.db.rows import insert_rows
from pycalc.db.sql_store import SqlStore
from pycalc.db.tables import quota_uses

# The largest amount stays, so that a delayed write does not replace a later one. After a refund, the stored amount is
# too large until further charges exceed it.
_REPLACE = "ON CONFLICT (id) DO UPDATE SET used = excluded.used WHERE excluded.used > quota_uses.used"


class SqlQuotaStore(SqlStore):
    """A store of the amounts that users and API keys have used of their quotas, in SQL."""

    async def save(self, uses: Sequence[QuotaUse]) -> None:
        if uses:
            rows = sorted(uses)  # concurrent processes lock rows in the same order, which rules out deadlocks
            await self._database.write(lambda connection: insert_rows(connection, quota_uses, rows, _REPLACE))

    async def totals(self, user_ids: Sequence[bytes], now: int, but: Sequence[bytes]) -> list[QuotaTotal]:
        key = (quota_uses.c.user_id, quota_uses.c.quota, quota_uses.c.ends)
        query = (
            select(*key, func.sum(quota_uses.c.used))
            .where(quota_uses.c.user_id.in_(user_ids) & (quota_uses.c.ends > now) & quota_uses.c.id.not_in(but))
            .group_by(*key)
        )
        return await self._list(query, lambda row: QuotaTotal(row.user_id, row.quota, row.ends, int(row[3])))

    async def forget(self, now: int, limit: int) -> int:
        ended = select(quota_uses.c.id).where(quota_uses.c.ends <= now).limit(limit)
        return await self._change(delete(quota_uses).where(quota_uses.c.id.in_(ended)))
