"""The time of a calculation by the clock, because its id may be a few seconds ahead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add ``history.created_ms``; for existing rows it is NULL, and the time in their id counts."""
    op.add_column("history", sa.Column("created_ms", sa.BigInteger()))
