"""The history's SQL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from sqlalchemy import Connection, Select, select
from sqlalchemy.exc import IntegrityError

from pycalc.db.base import ROWS_AT_ONCE, Database, HistoryFilter
from pycalc.db.tables import history
from pycalc.errors import Conflict
from pycalc.models.history import HistoryRow

_COLUMNS = [history.c[name] for name in HistoryRow._fields]


@lru_cache(maxsize=ROWS_AT_ONCE)
def _insert(rows: int) -> str:
    """Return the INSERT of so many rows; a trigger makes each row's outbox entry.

    One statement is one call into the driver: the interpreter's lock is given up and won back once for the whole
    transaction, its sync included, which is what a busy event loop in the same process can spare.
    """
    row = f"({', '.join('?' * len(HistoryRow._fields))})"
    columns = ", ".join(HistoryRow._fields)
    return f"INSERT INTO {history.name} ({columns}) VALUES {', '.join([row] * rows)}"  # noqa: S608  # our own names


def _insertion(rows: Sequence[HistoryRow]) -> tuple[str, tuple[object, ...]]:
    return _insert(len(rows)), tuple(chain.from_iterable(rows))


def _insert_all(connection: Connection, rows: Sequence[HistoryRow]) -> None:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        connection.exec_driver_sql(*_insertion(rows[start : start + ROWS_AT_ONCE]))


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
            if len(rows) <= ROWS_AT_ONCE:
                await self._database.execute(*_insertion(rows))
            else:
                await self._database.write(lambda connection: _insert_all(connection, rows))
        except IntegrityError as error:
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
