"""Refresh token families, and the second successor of a token whose reply was lost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns; open sessions have no family and stay open."""
    op.add_column("sessions", sa.Column("sibling_hash", sa.LargeBinary(32)))
    op.add_column("sessions", sa.Column("family_hash", sa.LargeBinary(32)))
