"""The dead letters' SQL: events that could not be delivered, put aside so that the rest flows on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, func, insert, select

from pycalc.db.base import Database, DeadLetter
from pycalc.db.tables import dead_letters, history, outbox


def insert_letters(connection: Connection, letters: Iterable[DeadLetter]) -> None:
    """Add letters within a transaction; their numbers are given here."""
    rows = [letter._asdict() for letter in letters]
    for row in rows:
        del row["number"]
    connection.execute(insert(dead_letters), rows)


def _requeue(connection: Connection, number: int) -> bool:
    letter = dead_letters.c.number == number
    named = select(history.c.id).join(dead_letters, dead_letters.c.event_id == history.c.id).where(letter)
    event_id = connection.scalar(named.with_for_update(of=history))  # who prunes the history waits, or was first
    if event_id is None:
        return False
    connection.execute(insert(outbox).values(history_id=event_id))
    connection.execute(delete(dead_letters).where(letter))
    return True


class SqlDeadLetterStore:
    """Dead letters in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        """See DeadLetterStore."""
        await self._database.write(lambda connection: insert_letters(connection, letters))

    async def page(self, after: int, limit: int) -> list[DeadLetter]:
        """See DeadLetterStore."""
        query = select(dead_letters).where(dead_letters.c.number > after).order_by(dead_letters.c.number).limit(limit)
        return await self._database.read(
            lambda connection: [DeadLetter._make(row) for row in connection.execute(query)]
        )

    async def requeue(self, number: int) -> bool:
        """See DeadLetterStore."""
        return await self._database.write(lambda connection: _requeue(connection, number))

    async def discard(self, number: int) -> bool:
        """See DeadLetterStore."""
        query = delete(dead_letters).where(dead_letters.c.number == number)
        return await self._database.write(lambda connection: connection.execute(query).rowcount == 1)

    async def size(self) -> int:
        """See DeadLetterStore."""
        query = select(func.count()).select_from(dead_letters)
        return await self._database.read(lambda connection: connection.scalar(query) or 0)
