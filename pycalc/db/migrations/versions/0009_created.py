"""The time of a calculation by the clock, because its id may be a few seconds ahead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; existing rows use the time in their id, and are not rewritten."""
    op.add_column("history", sa.Column("created_ms", sa.BigInteger()))
