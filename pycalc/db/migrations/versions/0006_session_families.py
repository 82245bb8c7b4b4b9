"""What all refresh tokens of a session have in common, and the second successor that a lost reply may give one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns; a session that is open has no family, and goes on."""
    op.add_column("sessions", sa.Column("sibling_hash", sa.LargeBinary(32)))
    op.add_column("sessions", sa.Column("family_hash", sa.LargeBinary(32)))
