"""The database, with the SQL of accounts, history, events, usage totals, quotas and the audit log."""

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

    Raises ValueError for an invalid URL, or one that names a missing file. Raises StoreUnavailable if the database is
    unreachable, read-only or not migrated, belongs to another program, or is an SQLite file in use. Raises OSError if
    the folder of an SQLite file can't be created, or if the lock file there can't be used.
    """
    with backend_of(url, "database", _DATABASES) as backend:
        database: Database = await backend.open(url)
    return database


async def migrate_database(url: str, roles: Sequence[DatabaseRole] = ()) -> None:
    """Migrate a database to the current schema, and give each role its rights in the same transaction.

    Raises the errors of ``open_database``, and StoreUnavailable if other processes keep using the tables. Raises
    ValueError for roles that can't be granted, such as any role of an SQLite file.
    """
    with backend_of(url, "database", _DATABASES) as backend:
        await backend.migrate(url, roles)
