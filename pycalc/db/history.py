"""The history's SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, select

from pycalc.db.base import Database, HistoryFilter
from pycalc.db.tables import history
from pycalc.models.history import HistoryRow

_COLUMNS = [history.c[name] for name in HistoryRow._fields]


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
        await self._database.insert(history, rows)

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
