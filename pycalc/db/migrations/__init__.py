"""The migrations of the schema: Alembic revisions, forward only."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from pycalc.db.tables import metadata
from pycalc.errors import StoreUnavailable

HEAD = "0017"  # the newest revision; importing Alembic to find it would slow every start


def current(connection: Connection) -> str | None:
    """Return the database's revision, or None if it has none. Raises StoreUnavailable for another program's database.

    Without a revision, an SQLite file must have no table. A PostgreSQL database's default schema must have no table
    whose name pycalc needs; other tables there may be those of an extension.
    """
    inspector = inspect(connection)
    schema = inspector.default_schema_name  # without it, PostgreSQL lists the tables of the whole search path
    # The names are read before the revision, because a first migration may be committed meanwhile.
    names = set(inspector.get_table_names(schema)) - {"alembic_version"}
    if connection.dialect.name != "sqlite":
        names = (names | set(inspector.get_view_names(schema))) & metadata.tables.keys()
    revision: str | None = None
    # On the whole search path, as queries do: a role may have got a schema of its own after the first migration.
    if inspector.has_table("alembic_version"):
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    reason = f"it has a table {min(names)!r}" if revision is None and names else ""
    if revision is not None and not (re.fullmatch(r"\d{4}", revision) and inspector.has_table("history")):
        reason = f"its tables are of revision {revision!r}"
    if reason:
        raise StoreUnavailable(
            f"The database belongs to another program: {reason}. Set PYCALC_DATABASE_URL to one that only pycalc uses."
        )
    return revision


def require_current(revision: str | None) -> None:
    """Raise StoreUnavailable if a database's revision is None or older than this program's.

    A newer one is accepted, so that a release can be rolled back: revisions only add what older releases ignore.
    """
    if revision is None or revision < HEAD:
        raise StoreUnavailable("The database's tables are not up to date: run `pycalc migrate` first.")


def upgrade(connection: Connection) -> None:
    """Migrate in the caller's transaction, unless the database is as new; raises StoreUnavailable like ``current``."""
    revision = current(connection)
    if (revision or "") >= HEAD:
        return  # importing Alembic takes longer than the rest of a start
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
