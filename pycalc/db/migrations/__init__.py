"""The migrations of the schema: Alembic revisions, forward only."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from pycalc.errors import StoreUnavailable

HEAD = "0017"  # the newest revision; importing Alembic to find it would slow every start

_REVISION = re.compile(r"\d{4}")


def current(connection: Connection) -> str | None:
    """Return a database's revision, or None if it has none. Raises StoreUnavailable for another program's revision."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision is not None and not _REVISION.fullmatch(revision):
        raise StoreUnavailable(f"The database belongs to another program: its tables are of revision {revision!r}.")
    return revision


def require_current(revision: str | None) -> None:
    """Raise StoreUnavailable if a database's revision is None or older than this program's.

    A newer one is accepted, so that a release can be rolled back: revisions only add what older releases ignore.
    """
    if revision is None or revision < HEAD:
        raise StoreUnavailable("The database's tables are not up to date: run `pycalc migrate` first.")


def upgrade(connection: Connection) -> None:
    """Migrate to the newest revision within the caller's transaction. A newer database stays unchanged.

    Raises StoreUnavailable for another program's revision, and for an SQLite file with another program's tables.
    """
    revision = current(connection)
    if (revision or "") >= HEAD:
        return  # importing Alembic takes longer than the rest of a start
    if revision is None and connection.dialect.name == "sqlite" and (tables := inspect(connection).get_table_names()):
        raise StoreUnavailable(f"The file is another program's database: it has a table {tables[0]!r}.")
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
