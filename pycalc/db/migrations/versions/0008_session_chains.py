"""The live refresh tokens of a session, each the newest of a chain, and those that were replaced a moment ago."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column; an open session goes on with the tokens that its other columns name."""
    op.add_column("sessions", sa.Column("chains", sa.LargeBinary()))
