"""The SQL of the audit log."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from pycalc.db.rows import insert_rows
from pycalc.db.sql_store import SqlStore
from pycalc.db.tables import audit, search_key
from pycalc.models.audit import AuditEntry, AuditFilter
from pycalc.models.ids import AHEAD_MS, first_id_of_ms, unix_ms

_COLUMNS = [audit.c[name] for name in AuditEntry._fields]


def insert_entries(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Add audit entries in the caller's transaction, usually the one that makes the change that they describe."""
    rows = [(*entry, _key(entry.actor), _key(entry.subject)) for entry in entries]
    insert_rows(connection, audit, rows, "ON CONFLICT (id) DO NOTHING")


def _key(name: str | None) -> str | None:
    return None if name is None else search_key(name)


class SqlAuditStore(SqlStore):
    """The audit log in SQL."""

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        await self._database.write(lambda connection: insert_entries(connection, entries))

    async def page(self, selection: AuditFilter, before: bytes | None, limit: int) -> list[AuditEntry]:
        query = select(*_COLUMNS).order_by(audit.c.id.desc()).limit(limit)
        wanted = {"actor_key": selection.actor, "subject_key": selection.subject, "action": selection.action}
        for column, text in wanted.items():
            if text is not None:
                query = query.where(audit.c[column] == search_key(text))
        # The bounds of the times are exact. The bounds of the ids allow the use of an index. They are wider, because
        # an id may be AHEAD_MS ahead of the clock.
        below = [] if before is None else [before]
        if selection.since is not None:
            since_ms = unix_ms(selection.since)
            query = query.where((audit.c.id >= first_id_of_ms(since_ms)) & (audit.c.created_ms >= since_ms))
        if selection.until is not None:
            until_ms = unix_ms(selection.until)
            query = query.where(audit.c.created_ms < until_ms)
            below.append(first_id_of_ms(until_ms + AHEAD_MS))
        if below:
            query = query.where(audit.c.id < min(below))
        return await self._list(query, AuditEntry._make)

    async def prune(self, before: bytes, limit: int) -> int:
        oldest = select(audit.c.id).where(audit.c.id < before).order_by(audit.c.id).limit(limit)
        return await self._change(delete(audit).where(audit.c.id.in_(oldest)))
