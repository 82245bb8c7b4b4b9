"""The outbox's SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select, text

from pycalc.db.base import Database, DeadLetter, OutboxRow
from pycalc.db.dead_letters import insert_letters
from pycalc.db.tables import outbox
from pycalc.models.history import HistoryRow

_ENTRIES = """
SELECT * FROM outbox JOIN history ON history.id = outbox.history_id WHERE seq > :after ORDER BY seq LIMIT :most
"""
_PENDING = {
    "sqlite": text(f"""
SELECT json_group_array(json_array(
    seq, hex(id), hex(user_id), username, operation, input, result, digits, exact, "leading", "trailing", hex(sha256),
    cached, elapsed_us, traceparent, created_ms
)) FROM ({_ENTRIES})
"""),  # noqa: S608  # our own names
    "postgresql": text(f"""
SELECT coalesce(json_agg(json_build_array(
    seq, encode(id, 'hex'), encode(user_id, 'hex'), username, operation, input, result, digits, exact, "leading",
    "trailing", encode(sha256, 'hex'), cached, elapsed_us, traceparent, created_ms
))::text, '[]') FROM ({_ENTRIES}) AS entries
"""),  # noqa: S608  # our own names
}
"""Everything in one row: the driver gives up the interpreter's lock for each row, and must win it back each time."""

_REMOVE = text("DELETE FROM outbox WHERE seq BETWEEN :first AND :last")
_HOLD = text("""
UPDATE leases SET owner = :owner, until_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + :lasting
WHERE name = 'relay' AND (owner = :owner OR until_ms < (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
""")
"""By the database's clock: those of the processes may differ."""
_RELEASE = text("UPDATE leases SET until_ms = 0 WHERE name = 'relay' AND owner = :owner")


def _entry(values: list[Any]) -> OutboxRow:
    """Return an entry from its JSON form."""
    seq, identity, user_id, *middle, digest, cached, elapsed_us, traceparent, created_ms = values
    fromhex = bytes.fromhex
    recorded = (cached, elapsed_us, traceparent, created_ms)
    row = (fromhex(identity), fromhex(user_id), *middle, fromhex(digest or "") or None, *recorded)
    return OutboxRow(seq, HistoryRow._make(row))


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of each run of consecutive numbers: mostly there is just one."""
    first = last = seqs[0]
    for seq in seqs[1:]:
        if seq != last + 1:
            yield first, last
            first = seq
        last = seq
    yield first, last


def _pending(connection: Connection, after: int, limit: int) -> str:
    query = _PENDING[connection.dialect.name]
    packed: str = connection.execute(query, {"after": after, "most": limit}).scalar_one()
    return packed


class SqlOutboxStore:
    """The outbox in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hold(self, owner: bytes, milliseconds: int) -> bool:
        """See OutboxStore; a database that no other process can use needs no lease."""
        if not self._database.shared:
            return True
        parameters = {"owner": owner, "lasting": milliseconds}
        return await self._database.write(lambda connection: connection.execute(_HOLD, parameters).rowcount == 1)

    async def release(self, owner: bytes) -> None:
        """See OutboxStore."""
        if self._database.shared:
            await self._database.write(lambda connection: connection.execute(_RELEASE, {"owner": owner}))

    async def pending(self, after: int, limit: int) -> list[OutboxRow]:
        """See OutboxStore."""
        packed = await self._database.read(lambda connection: _pending(connection, after, limit))
        return sorted(map(_entry, json.loads(packed)))

    async def remove(self, seqs: Sequence[int]) -> None:
        """See OutboxStore."""
        runs = [{"first": first, "last": last} for first, last in _runs(seqs)]
        await self._database.write(lambda connection: connection.execute(_REMOVE, runs))

    async def put_aside(self, letters: Mapping[int, DeadLetter]) -> None:
        """See OutboxStore."""

        def work(connection: Connection) -> None:
            insert_letters(connection, letters.values())
            connection.execute(delete(outbox).where(outbox.c.seq.in_(letters)))

        await self._database.write(work)

    async def backlog(self) -> int:
        """See OutboxStore."""
        query = select(func.count()).select_from(outbox)
        return await self._database.read(lambda connection: connection.scalar(query) or 0)
