"""Usage totals, the ids of counted events, and dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables of usage totals, counted events and dead letters; earlier events are not counted."""
    op.create_table(
        "usage",
        sa.Column("user_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("day", sa.Integer(), autoincrement=False, primary_key=True, index=True),
        sa.Column("operation", sa.String(32), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("cached", sa.BigInteger(), nullable=False),
        sa.Column("digits_high", sa.BigInteger(), nullable=False),
        sa.Column("digits_low", sa.BigInteger(), nullable=False),
        sa.Column("compute_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "consumed",
        sa.Column("event_id", sa.LargeBinary(16), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dead_letters",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, primary_key=True),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("event_id", sa.LargeBinary(16)),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
