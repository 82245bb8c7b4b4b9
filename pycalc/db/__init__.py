"""The database: accounts, sessions, API keys, history, outbox, usage totals and dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol, cast

from pycalc.db.base import Database
from pycalc.db.roles import DatabaseRole
from pycalc.urls import scheme_of

_DATABASES = {
    "sqlite": "pycalc.db.sqlite:SqliteDatabase",
    "postgresql": "pycalc.db.postgres:PostgresDatabase",
}


class _Adapter(Protocol):
    async def open(self, url: str) -> Database: ...

    async def migrate(self, url: str, roles: Sequence[DatabaseRole]) -> None: ...


@contextmanager
def _adapter(url: str) -> Iterator[_Adapter]:
    """Return a context with the adapter for a URL's scheme. Every ValueError in it names PYCALC_DATABASE_URL."""
    scheme = scheme_of(url)
    try:
        if scheme not in _DATABASES:
            raise ValueError(f"there is no database for {scheme!r}; known: {', '.join(_DATABASES)}")
        module, _, name = _DATABASES[scheme].partition(":")
        yield cast("_Adapter", getattr(import_module(module), name))
    except ValueError as error:
        raise ValueError(f"PYCALC_DATABASE_URL: {error}") from None


async def open_database(url: str) -> Database:
    """Open the database at a URL. An SQLite file is created and migrated if necessary.

    Raises ValueError for an invalid URL. Raises StoreUnavailable if the database is unreachable, read-only or not
    migrated, belongs to another program, or is an SQLite file in use.
    """
    with _adapter(url) as adapter:
        return await adapter.open(url)


async def migrate_database(url: str, roles: Sequence[DatabaseRole] = ()) -> None:
    """Migrate a database to the current schema, and give each role its rights in the same transaction.

    Raises ValueError and StoreUnavailable as ``open_database`` does. Raises ValueError too if roles are given for an
    SQLite file, which has no roles.
    """
    with _adapter(url) as adapter:
        await adapter.migrate(url, roles)
