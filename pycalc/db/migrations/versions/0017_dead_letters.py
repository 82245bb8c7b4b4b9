"""Dead letters with an index by event, and with numbers that SQLite never reuses."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Create the index. In SQLite, first copy the table to one that never reuses a number, as PostgreSQL never does."""
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("dead_letters", recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass
    op.create_index("ix_dead_letters_event_id", "dead_letters", ["event_id"])
