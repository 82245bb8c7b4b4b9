"""The limits of single accounts, which replace the default limits."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add columns for an account's own limits to ``users``. Existing accounts keep the default limits."""
    op.add_column("users", sa.Column("rate_limit", sa.String(100)))
    op.add_column("users", sa.Column("compute_quota", sa.String(32)))
    op.add_column("users", sa.Column("digits_quota", sa.String(32)))
    op.add_column("users", sa.Column("history_quota", sa.BigInteger()))
