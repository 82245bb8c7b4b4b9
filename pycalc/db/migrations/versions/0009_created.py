"""When a calculation was recorded, by the clock: its id may be a few seconds ahead of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; what is recorded goes by its id, which is its time but for seconds. No row is rewritten."""
    op.add_column("history", sa.Column("created_ms", sa.BigInteger()))
