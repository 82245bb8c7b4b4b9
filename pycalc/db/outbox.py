"""The SQL of the outbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, func, select, text

from pycalc.db.base import DeadLetter, OutboxRow
from pycalc.db.dead_letters import insert_dead_letters
from pycalc.db.sql_store import SqlStore
from pycalc.db.tables import outbox
from pycalc.models.history import HistoryRow

_ENTRIES = """
SELECT * FROM outbox JOIN history ON history.id = outbox.history_id ORDER BY seq LIMIT :most
"""
# All entries come in one row: the driver releases the interpreter's lock for each row and has to reacquire it.
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
_REMOVE = text("DELETE FROM outbox WHERE seq BETWEEN :first AND :last")
# The lease follows the database's clock, because the clocks of the processes may differ.
_HOLD = text("""
UPDATE leases SET owner = :owner, until_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + :lasting
WHERE name = 'relay' AND (owner = :owner OR until_ms < (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
""")
_RELEASE = text("UPDATE leases SET until_ms = 0 WHERE name = 'relay' AND owner = :owner")


class SqlOutboxStore(SqlStore):
    """The outbox in SQL. Its rows are inserted together with the history rows (see ``SqlHistoryStore.append``)."""

    async def hold(self, owner: bytes, milliseconds: int) -> bool:
        if not self._database.shared:
            return True  # no other process can use this database
        parameters = {"owner": owner, "lasting": milliseconds}
        return await self._database.write(lambda connection: connection.execute(_HOLD, parameters).rowcount == 1)

    async def release(self, owner: bytes) -> None:
        if self._database.shared:
            await self._database.write(lambda connection: connection.execute(_RELEASE, {"owner": owner}))

    async def pending(self, limit: int) -> list[OutboxRow]:
        found: str = await self._database.read(
            lambda connection: connection.execute(_PENDING[connection.dialect.name], {"most": limit}).scalar_one()
        )
        entries = []
        for seq, history_id, user_id, *values, digest, cached, elapsed_us, traceparent, created_ms in json.loads(found):
            ids = bytes.fromhex(history_id), bytes.fromhex(user_id)
            sha256 = bytes.fromhex(digest) if digest else None
            row = (*ids, *values, sha256, cached, elapsed_us, traceparent, created_ms)
            entries.append(OutboxRow(seq, HistoryRow._make(row)))
        return sorted(entries)

    async def remove(self, seqs: Sequence[int]) -> None:
        runs: list[dict[str, int]] = []  # ranges of consecutive numbers; there is usually one
        for seq in seqs:
            if runs and seq == runs[-1]["last"] + 1:
                runs[-1]["last"] = seq
            else:
                runs.append({"first": seq, "last": seq})
        await self._database.write(lambda connection: connection.execute(_REMOVE, runs))

    async def dead_letter(self, dead_letters: Mapping[int, DeadLetter]) -> None:
        def work(connection: Connection) -> None:
            insert_dead_letters(connection, dead_letters.values())
            connection.execute(delete(outbox).where(outbox.c.seq.in_(dead_letters)))

        await self._database.write(work)

    async def backlog(self) -> int:
        query = select(func.count()).select_from(outbox)
        return await self._database.read(lambda connection: connection.scalar(query) or 0)
