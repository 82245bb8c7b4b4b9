"""The durable store: users, sessions, history, outbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol, cast

from pycalc.db.base import Database
from pycalc.urls import scheme_of

_DATABASES = {
    "sqlite": "pycalc.db.sqlite:SqliteDatabase",
    "postgresql": "pycalc.db.postgres:PostgresDatabase",
}


class _Adapter(Protocol):
    async def open(self, url: str) -> Database: ...

    async def migrate(self, url: str) -> None: ...


def _adapter(url: str) -> _Adapter:
    """Return the adapter for a URL; its driver is imported only now. Raises ValueError for an unknown scheme."""
    scheme = scheme_of(url)
    if scheme not in _DATABASES:
        known = ", ".join(_DATABASES)
        raise ValueError(f"PYCALC_DATABASE_URL: there is no database for {scheme!r}; known: {known}")
    module, _, name = _DATABASES[scheme].partition(":")
    return cast("_Adapter", getattr(import_module(module), name))


@contextmanager
def _naming_the_setting() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"PYCALC_DATABASE_URL: {error}") from None


async def open_database(url: str) -> Database:
    """Open the database that a URL names; an SQLite file is migrated.

    Raises ValueError for a URL that names none, StoreUnavailable when it is not there or not migrated.
    """
    adapter = _adapter(url)
    with _naming_the_setting():
        return await adapter.open(url)


async def migrate_database(url: str) -> None:
    """Bring a database's tables up to date; raises as ``open_database`` does."""
    adapter = _adapter(url)
    with _naming_the_setting():
        await adapter.migrate(url)
