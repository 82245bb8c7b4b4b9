"""The SQL of the dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, func, insert, select

from pycalc.db.base import Database, DeadLetter
from pycalc.db.tables import dead_letters, history, outbox


def insert_dead_letters(connection: Connection, new: Iterable[DeadLetter]) -> None:
    """Insert dead letters within a transaction; the database assigns their numbers."""
    rows = [row._asdict() for row in new]
    for row in rows:
        del row["number"]
    connection.execute(insert(dead_letters), rows)


class SqlDeadLetterStore:
    """Dead letters in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, dead_letters: Sequence[DeadLetter]) -> None:
        await self._database.write(lambda connection: insert_dead_letters(connection, dead_letters))

    async def page(self, after: int, limit: int) -> list[DeadLetter]:
        query = select(dead_letters).where(dead_letters.c.number > after).order_by(dead_letters.c.number).limit(limit)
        return await self._database.read(
            lambda connection: [DeadLetter._make(row) for row in connection.execute(query)]
        )

    async def requeue(self, number: int) -> bool:
        def work(connection: Connection) -> bool:
            numbered = dead_letters.c.number == number
            recorded = select(history.c.id).join(dead_letters, dead_letters.c.event_id == history.c.id).where(numbered)
            # A concurrent prune of the history skips locked rows, so that the outbox entry keeps its row.
            event_id = connection.scalar(recorded.with_for_update(of=history))
            if event_id is None:
                return False
            connection.execute(insert(outbox).values(history_id=event_id))
            connection.execute(delete(dead_letters).where(numbered))
            return True

        return await self._database.write(work)

    async def discard(self, number: int) -> bool:
        query = delete(dead_letters).where(dead_letters.c.number == number)
        return await self._database.write(lambda connection: connection.execute(query).rowcount == 1)

    async def size(self) -> int:
        query = select(func.count()).select_from(dead_letters)
        return await self._database.read(lambda connection: connection.scalar(query) or 0)
