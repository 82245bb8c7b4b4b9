"""Chains of refresh tokens: a session's valid tokens with their predecessors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add ``sessions.chains``; open sessions keep the tokens in their other columns."""
    op.add_column("sessions", sa.Column("chains", sa.LargeBinary()))
