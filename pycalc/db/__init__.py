"""The durable store: users, history, outbox."""

from __future__ import annotations

from pycalc.db.base import Database


async def open_database(url: str) -> Database:
    """Open the database that a URL names and bring its tables up to date; raises ValueError for an unknown scheme."""
    scheme = url.partition(":")[0]
    if scheme != "sqlite":
        raise ValueError(f"PYCALC_DATABASE_URL: there is no database for {scheme!r}; known: sqlite")
    from pycalc.db.sqlite import SqliteDatabase

    return await SqliteDatabase.open(url)
