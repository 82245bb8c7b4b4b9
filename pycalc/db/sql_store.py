"""The base class of the SQL stores."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Delete, Insert, Row, Select, Update

from pycalc.db.base import Database


class SqlStore:
    """A store that runs SQL on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _row(self, query: Select[Any]) -> Row[Any] | None:
        """Return the only row of a query, or None if there is none."""
        return await self._database.read(lambda connection: connection.execute(query).one_or_none())

    async def _change(self, statement: Delete | Insert | Update) -> int:
        """Run a statement in a transaction, and return the number of changed rows."""
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)
