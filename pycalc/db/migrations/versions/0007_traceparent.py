"""The trace context of a calculation, so that its event belongs to the same trace."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add ``history.traceparent``, which is NULL for existing rows."""
    op.add_column("history", sa.Column("traceparent", sa.String(55)))
