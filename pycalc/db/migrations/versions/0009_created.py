"""The time of each calculation by the clock, because the time in its id may be a few seconds ahead of the clock."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add ``history.created_ms``, which is NULL for existing rows, whose ids contain their times."""
    op.add_column("history", sa.Column("created_ms", sa.BigInteger()))
