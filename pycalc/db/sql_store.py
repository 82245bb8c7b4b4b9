"""The base class of the SQL stores."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Delete, Insert, Select, Update

from pycalc.db.base import Database

P = ParamSpec("P")
T = TypeVar("T")
Store = TypeVar("Store", bound="SqlStore")


class SqlStore:
    """A store that runs SQL on a database. A store of credentials looks them up in ``lookups``, if it is given."""

    def __init__(self, database: Database, lookups: Database | None = None) -> None:
        self._database = database
        self._lookups = lookups or database

    async def _scalar(self, query: Select[T]) -> T | None:
        """Return the first value of a query's first row, or None if there is no row."""
        return await self._database.read(lambda connection: connection.scalar(query))

    async def _row(self, query: Select[Any], make: Callable[[Any], T]) -> T | None:
        """Return the only row of a query, converted by ``make``, or None if there is none."""
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else make(row)

    async def _list(self, query: Select[Any], make: Callable[[Any], T]) -> list[T]:
        """Return the rows of a query, each converted by ``make``."""
        return await self._database.read(lambda connection: list(map(make, connection.execute(query).all())))

    async def _change(self, statement: Delete | Insert | Update) -> int:
        """Run a statement in a transaction, and return the number of changed rows."""
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)


def transaction(
    method: Callable[Concatenate[Store, Connection, P], T],
) -> Callable[Concatenate[Store, P], Coroutine[Any, Any, T]]:
    """Turn a store's method into one that runs in a transaction, which provides the parameter ``connection``."""

    @wraps(method)
    async def run(self: Store, /, *arguments: P.args, **options: P.kwargs) -> T:
        return await self._database.write(lambda connection: method(self, connection, *arguments, **options))

    return run
