"""Chains of refresh tokens: a session's valid tokens with their predecessors."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add ``sessions.chains``. The tokens of open sessions stay in the columns of earlier revisions."""
    op.add_column("sessions", sa.Column("chains", sa.LargeBinary()))
