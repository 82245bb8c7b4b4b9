"""The outbox's SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, select

from pycalc.db.base import Database, OutboxRow
from pycalc.db.tables import history, outbox
from pycalc.models.history import HistoryRow

_PENDING = select(outbox.c.seq, *(history.c[name] for name in HistoryRow._fields)).join_from(
    outbox, history, outbox.c.history_id == history.c.id
)


class SqlOutboxStore:
    """The outbox in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, after: int, limit: int) -> list[OutboxRow]:
        """See OutboxStore."""
        query = _PENDING.where(outbox.c.seq > after).order_by(outbox.c.seq).limit(limit)

        def fetch(connection: Connection) -> list[OutboxRow]:
            return [OutboxRow(seq, HistoryRow._make(values)) for seq, *values in connection.execute(query)]

        return await self._database.read(fetch)

    async def remove(self, seqs: Sequence[int]) -> None:
        """See OutboxStore."""
        await self._database.write(lambda connection: connection.execute(delete(outbox).where(outbox.c.seq.in_(seqs))))

    async def backlog(self) -> int:
        """See OutboxStore."""
        query = select(func.count()).select_from(outbox)
        return await self._database.read(lambda connection: connection.scalar(query) or 0)
