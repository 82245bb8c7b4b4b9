"""The history's SQL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from sqlalchemy import Connection, Select, select
from sqlalchemy.exc import DataError, IntegrityError

from pycalc.db.base import Database, HistoryFilter
from pycalc.db.tables import history, outbox
from pycalc.errors import Conflict
from pycalc.models.history import HistoryRow

_COLUMNS = [history.c[name] for name in HistoryRow._fields]
_LARGEST_INSERT = 64
"""Rows in one INSERT; each size is a statement of its own, prepared once and kept by the driver."""


@lru_cache(maxsize=2 * _LARGEST_INSERT)
def _insert(table: str, columns: tuple[str, ...], rows: int) -> str:
    """Return the text of an INSERT of so many rows.

    One statement for many rows is one call into the driver: the interpreter's lock is given back once for all
    of them, not once a row, which is what a busy event loop in the same process can spare.
    """
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"  # noqa: S608  # our own names


def _insert_all(connection: Connection, rows: Sequence[HistoryRow]) -> None:
    """Insert rows and their outbox entries in the rows' order."""
    for start in range(0, len(rows), _LARGEST_INSERT):
        chunk = rows[start : start + _LARGEST_INSERT]
        values = tuple(chain.from_iterable(chunk))
        connection.exec_driver_sql(_insert(history.name, HistoryRow._fields, len(chunk)), values)
        connection.exec_driver_sql(_insert(outbox.name, ("history_id",), len(chunk)), tuple(row.id for row in chunk))


def _matching(selection: HistoryFilter) -> Select[tuple[object, ...]]:
    """Return the query for a selection, without order."""
    query = select(*_COLUMNS)
    if selection.user_ids is not None:
        query = query.where(history.c.user_id.in_(selection.user_ids))
    if selection.operation is not None:
        query = query.where(history.c.operation == selection.operation)
    if selection.since is not None:
        query = query.where(history.c.id >= selection.since)
    if selection.until is not None:
        query = query.where(history.c.id < selection.until)
    return query


class SqlHistoryStore:
    """Recorded calculations in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, rows: Sequence[HistoryRow]) -> None:
        """See HistoryStore."""
        try:
            await self._database.write(lambda connection: _insert_all(connection, rows))
        except (DataError, IntegrityError) as error:
            raise Conflict("The calculation can't be recorded.") from error

    async def page(self, selection: HistoryFilter, before: bytes | None, limit: int) -> list[HistoryRow]:
        """See HistoryStore."""
        query = _matching(selection).order_by(history.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(history.c.id < before)
        return await self._fetch(query)

    async def following(self, selection: HistoryFilter, after: bytes, limit: int) -> list[HistoryRow]:
        """See HistoryStore."""
        return await self._fetch(_matching(selection).where(history.c.id > after).order_by(history.c.id).limit(limit))

    async def _fetch(self, query: Select[tuple[object, ...]]) -> list[HistoryRow]:
        return await self._database.read(
            lambda connection: [HistoryRow._make(row) for row in connection.execute(query)]
        )
