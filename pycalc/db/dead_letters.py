"""The SQL of the dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, func, insert, select

from pycalc.db.base import DeadLetter
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import dead_letters, history, outbox


def insert_dead_letters(connection: Connection, new: Iterable[DeadLetter]) -> None:
    """Insert dead letters within a transaction; the database assigns their numbers."""
    columns = DeadLetter._fields[1:]  # without the number
    connection.execute(insert(dead_letters), [dict(zip(columns, row[1:], strict=True)) for row in new])


class SqlDeadLetterStore(SqlStore):
    """Dead letters in SQL."""

    @transaction
    def put(self, connection: Connection, dead_letters: Sequence[DeadLetter]) -> None:
        insert_dead_letters(connection, dead_letters)

    async def page(self, after: int, limit: int) -> list[DeadLetter]:
        query = select(dead_letters).where(dead_letters.c.number > after).order_by(dead_letters.c.number).limit(limit)
        return await self._list(query, DeadLetter._make)

    @transaction
    def requeue(self, connection: Connection, number: int) -> bool:
        numbered = dead_letters.c.number == number
        recorded = select(history.c.id).join(dead_letters, dead_letters.c.event_id == history.c.id).where(numbered)
        # The lock waits for a concurrent prune of the row, so that no outbox entry is without its row.
        event_id = connection.scalar(recorded.with_for_update(of=history))
        if event_id is None:
            return False
        connection.execute(insert(outbox).values(history_id=event_id))
        connection.execute(delete(dead_letters).where(numbered))
        return True

    async def discard(self, number: int) -> bool:
        return await self._change(delete(dead_letters).where(dead_letters.c.number == number)) == 1

    async def size(self) -> int:
        query = select(func.count()).select_from(dead_letters)
        return await self._scalar(query) or 0
