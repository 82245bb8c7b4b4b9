"""The SQL of the running processes."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from pycalc.db.base import Instance
from pycalc.db.rows import insert_rows
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import instances

_REPLACE = "ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms, figures = excluded.figures"


class SqlInstanceStore(SqlStore):
    """The list of running processes, in SQL."""

    @transaction
    def report(self, connection: Connection, instance: Instance, oldest_ms: int) -> None:
        insert_rows(connection, instances, [instance], _REPLACE)
        # Processes that prune at the same time skip each other's rows, so that none waits for another's lock.
        stale = select(instances.c.id).where(instances.c.seen_ms < oldest_ms).with_for_update(skip_locked=True)
        connection.execute(delete(instances).where(instances.c.id.in_(stale)))

    async def forget(self, instance_id: bytes) -> None:
        await self._change(delete(instances).where(instances.c.id == instance_id))

    async def all(self, limit: int) -> list[Instance]:
        query = select(instances).order_by(instances.c.started_ms, instances.c.id).limit(limit)
        return await self._list(query, Instance._make)
