"""Numbers of dead letters that SQLite never gives again, so that a repeated request hits no other dead letter."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Copy SQLite's table to one whose numbers are never given again. PostgreSQL's sequence does not repeat numbers."""
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("dead_letters", recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass
