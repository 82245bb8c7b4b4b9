"""The outbox's SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select

from pycalc.db.base import Database, OutboxRow
from pycalc.db.tables import outbox
from pycalc.models.history import HistoryRow

_PENDING = """
SELECT json_group_array(json_array(
    seq, hex(id), hex(user_id), username, operation, input, result, digits, exact, leading, trailing, hex(sha256),
    cached, elapsed_us
)) FROM (SELECT * FROM outbox JOIN history ON history.id = outbox.history_id WHERE seq > ? ORDER BY seq LIMIT ?)
"""
"""Everything in one row: the driver gives up the interpreter's lock for each row, and must win it back each time."""
_REMOVE = "DELETE FROM outbox WHERE seq BETWEEN ? AND ?"


def _entry(values: list[Any]) -> OutboxRow:
    """Return an entry from its JSON form."""
    seq, identity, user_id, *middle, digest, cached, elapsed_us = values
    fromhex = bytes.fromhex
    row = (fromhex(identity), fromhex(user_id), *middle, fromhex(digest) or None, cached, elapsed_us)
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


class SqlOutboxStore:
    """The outbox in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, after: int, limit: int) -> list[OutboxRow]:
        """See OutboxStore."""
        parameters = (after, limit)
        packed = await self._database.read(
            lambda connection: connection.exec_driver_sql(_PENDING, parameters).scalar_one()
        )
        return sorted(map(_entry, json.loads(packed)))

    async def remove(self, seqs: Sequence[int]) -> None:
        """See OutboxStore."""
        for run in _runs(seqs):
            await self._database.execute(_REMOVE, run)

    async def backlog(self) -> int:
        """See OutboxStore."""
        query = select(func.count()).select_from(outbox)
        return await self._database.read(lambda connection: connection.scalar(query) or 0)
