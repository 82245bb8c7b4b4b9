"""The database: accounts, sessions, API keys, history, outbox, usage totals and dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from pycalc.db.base import Database
from pycalc.db.roles import DatabaseRole
from pycalc.urls import backend_of

_DATABASES = {
    "sqlite": "pycalc.db.sqlite:SqliteDatabase",
    "postgresql": "pycalc.db.postgres:PostgresDatabase",
}


async def open_database(url: str) -> Database:
    """Open the database at a URL. An SQLite file is created and migrated if necessary.

    Raises ValueError for an invalid URL. Raises StoreUnavailable if the database is unreachable, read-only or not
    migrated, belongs to another program, or is an SQLite file in use.
    """
    with backend_of(url, "database", _DATABASES) as backend:
        database: Database = await backend.open(url)
    return database


async def migrate_database(url: str, roles: Sequence[DatabaseRole] = ()) -> None:
    """Migrate a database to the current schema, and give each role its rights in the same transaction.

    Raises ValueError and StoreUnavailable as ``open_database`` does. Raises ValueError too if roles are given for an
    SQLite file, which has no roles.
    """
    with backend_of(url, "database", _DATABASES) as backend:
        await backend.migrate(url, roles)
