"""The SQL of the outbox and of the dead letters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, TextClause, delete, func, insert, select, text, union_all
from structlog import get_logger

from pycalc.db.base import DeadLetter, OutboxRow
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import consumed, dead_letters, history, outbox
from pycalc.models.history import HistoryRow

_log = get_logger(__name__)

_BYTES = ("id", "user_id", "sha256")  # columns of bytes, which JSON needs as hexadecimal texts


def _pending(group: str, hexadecimal: str) -> TextClause:
    """Return the query for the oldest entries, as one row that has a JSON list of each column's values.

    ``group`` is the SQL that collects a column's values in a JSON list, ``hexadecimal`` the SQL that turns bytes into
    text, both with ``{}`` in place of the column. One row is fast, because the driver releases the interpreter's lock
    for each row. A list for each column takes Python less time than a list for each entry.
    """
    values = [hexadecimal.format(name) if name in _BYTES else f'"{name}"' for name in ("seq", *HistoryRow._fields)]
    return text(
        f"SELECT {', '.join(map(group.format, values))} FROM "  # noqa: S608  # our own names
        "(SELECT * FROM outbox ORDER BY seq LIMIT :most) AS entries LEFT JOIN history ON history.id = history_id"
    )


_PENDING = {
    "sqlite": _pending("json_group_array({})", "hex({})"),
    "postgresql": _pending("coalesce(json_agg({})::text, '[]')", "encode({}, 'hex')"),
}
_REMOVE = text("DELETE FROM outbox WHERE seq BETWEEN :first AND :last")
# The lease uses the database's clock, because the clocks of the processes may differ. A lease that ends too far ahead
# counts as expired: the clock was set back, by a failover for example, and nobody renews the lease.
_HOLD = text("""
UPDATE leases SET owner = :owner, until_ms = now_ms + :lasting
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms) AS clock
WHERE name = 'relay' AND (owner = :owner OR until_ms NOT BETWEEN now_ms AND now_ms + 2 * :lasting)
""")
_RELEASE = text("UPDATE leases SET until_ms = 0 WHERE name = 'relay' AND owner = :owner")


def _insert_dead_letters(connection: Connection, new: Iterable[DeadLetter]) -> None:
    """Insert dead letters within a transaction; the database assigns their numbers."""
    columns = DeadLetter._fields[1:]  # without the number
    connection.execute(insert(dead_letters), [dict(zip(columns, row[1:], strict=True)) for row in new])


class SqlOutboxStore(SqlStore):
    """The outbox in SQL. A trigger inserts its rows together with the history rows (see ``SqlHistoryStore.append``)."""

    async def hold(self, owner: bytes, milliseconds: int) -> bool:
        if not self._database.shared:
            return True  # no other process can use this database
        parameters = {"owner": owner, "lasting": milliseconds}
        return await self._database.write(lambda connection: connection.execute(_HOLD, parameters).rowcount == 1)

    async def release(self, owner: bytes) -> None:
        if self._database.shared:
            await self._database.write(lambda connection: connection.execute(_RELEASE, {"owner": owner}))

    async def pending(self, limit: int) -> list[OutboxRow]:
        while True:
            found = await self._database.read(
                lambda connection: connection.execute(_PENDING[connection.dialect.name], {"most": limit}).one()
            )
            seqs, *columns = map(json.loads, found)
            orphans = sorted(seq for seq, identity in zip(seqs, columns[0], strict=True) if not identity)
            if not orphans:
                break
            # Somebody has deleted the rows by hand. These entries would keep all later rows from being pruned.
            _log.error("events without calculations were dropped", count=len(orphans))
            await self.remove(orphans)
        for place, name in enumerate(HistoryRow._fields):
            if name in _BYTES:
                columns[place] = [bytes.fromhex(value) if value else None for value in columns[place]]
        return sorted(map(OutboxRow, seqs, map(HistoryRow._make, zip(*columns, strict=True))))

    async def remove(self, seqs: Sequence[int]) -> None:
        runs: list[dict[str, int]] = []  # ranges of consecutive numbers; there is usually one
        for seq in seqs:
            if runs and seq == runs[-1]["last"] + 1:
                runs[-1]["last"] = seq
            else:
                runs.append({"first": seq, "last": seq})
        await self._database.write(lambda connection: connection.execute(_REMOVE, runs))

    @transaction
    def dead_letter(self, connection: Connection, dead_letters: Mapping[int, DeadLetter]) -> None:
        _insert_dead_letters(connection, dead_letters.values())
        connection.execute(delete(outbox).where(outbox.c.seq.in_(dead_letters)))

    async def refill(self, after: bytes, limit: int) -> tuple[int, bytes | None]:
        later = select(history.c.id).where(history.c.id > after).order_by(history.c.id).limit(limit)
        ids = await self._database.read(lambda connection: connection.scalars(later).all())
        if not ids:
            return 0, None
        columns = outbox.c.history_id, consumed.c.event_id, dead_letters.c.event_id
        known = union_all(*(select(column).where(column.between(ids[0], ids[-1])) for column in columns))
        lost = select(history.c.id).where(history.c.id.in_(ids) & history.c.id.not_in(known)).order_by(history.c.id)
        # The lock waits for a concurrent prune of a row, so that no outbox entry is without its row.
        refilling = insert(outbox).from_select(["history_id"], lost.with_for_update(of=history))
        return await self._change(refilling), ids[-1]

    async def backlog(self) -> int:
        query = select(func.count()).select_from(outbox)
        return await self._scalar(query) or 0


class SqlDeadLetterStore(SqlStore):
    """Dead letters in SQL."""

    @transaction
    def put(self, connection: Connection, dead_letters: Sequence[DeadLetter]) -> None:
        _insert_dead_letters(connection, dead_letters)

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
