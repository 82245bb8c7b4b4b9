"""Families of refresh tokens, and a second replacement of a token for a client that did not get the first."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add ``sessions.sibling_hash`` and ``sessions.family_hash``; open sessions stay open, without a family."""
    op.add_column("sessions", sa.Column("sibling_hash", sa.LargeBinary(32)))
    op.add_column("sessions", sa.Column("family_hash", sa.LargeBinary(32)))
