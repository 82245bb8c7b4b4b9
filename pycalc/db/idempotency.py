"""The SQL of the idempotency keys."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import idempotency_keys
from pycalc.models.idempotency import KeyRow


class SqlIdempotencyStore(SqlStore):
    """Recorded requests with idempotency keys in SQL."""

    async def find(self, identity: bytes) -> KeyRow | None:
        return await self._row(select(idempotency_keys).where(idempotency_keys.c.id == identity), KeyRow._make)

    @transaction
    def forget(self, connection: Connection, before_ms: int, limit: int) -> int:
        created = idempotency_keys.c.created_ms
        oldest = select(idempotency_keys.c.id).where(created < before_ms).order_by(created).limit(limit)
        # Processes that prune at the same time delete different rows.
        ids = connection.scalars(oldest.with_for_update(skip_locked=True)).all()
        connection.execute(delete(idempotency_keys).where(idempotency_keys.c.id.in_(ids)))
        return len(ids)
