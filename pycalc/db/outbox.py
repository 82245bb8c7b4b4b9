"""The outbox's SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, delete, func, select

from pycalc.db.base import Database, OutboxRow
from pycalc.db.tables import history, outbox
from pycalc.models.history import HistoryRow

_PENDING = (
    select(outbox.c.seq, *(history.c[name] for name in HistoryRow._fields))
    .join_from(outbox, history, outbox.c.history_id == history.c.id)
    .where(outbox.c.seq > bindparam("after"))
    .order_by(outbox.c.seq)
    .limit(bindparam("limit"))
)

_REMOVE = delete(outbox).where(outbox.c.seq.between(bindparam("first"), bindparam("last")))


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of each run of consecutive numbers: mostly there is just one."""
    first = last = seqs[0]
    for seq in seqs[1:]:
        if seq != last + 1:
            yield first, last
            first = seq
        last = seq
    yield first, last


class SqlOutboxStore:
    """The outbox in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, after: int, limit: int) -> list[OutboxRow]:
        """See OutboxStore."""

        def fetch(connection: Connection) -> list[OutboxRow]:
            return [
                OutboxRow(row[0], HistoryRow._make(row[1:]))
                for row in connection.execute(_PENDING, {"after": after, "limit": limit}).all()
            ]

        return await self._database.read(fetch)

    async def remove(self, seqs: Sequence[int]) -> None:
        """See OutboxStore."""

        def delete_runs(connection: Connection) -> None:
            for first, last in _runs(seqs):
                connection.execute(_REMOVE, {"first": first, "last": last})

        await self._database.write(delete_runs)

    async def backlog(self) -> int:
        """See OutboxStore."""
        query = select(func.count()).select_from(outbox)
        return await self._database.read(lambda connection: connection.scalar(query) or 0)
