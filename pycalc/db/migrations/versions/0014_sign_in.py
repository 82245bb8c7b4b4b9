"""Second factors of accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0011"


def upgrade() -> None:
    """Create the table, and add the column; no account has a second factor."""
    op.create_table(
        "totp",
        sa.Column("user_id", sa.LargeBinary(16), nullable=False),
        sa.Column("secret", sa.LargeBinary(64), nullable=False),
        sa.Column("last_step", sa.BigInteger()),
        sa.Column("recovery", sa.LargeBinary(320)),
        sa.PrimaryKeyConstraint("user_id", name="pk_totp"),
    )
    op.add_column("users", sa.Column("totp", sa.Boolean(), nullable=False, server_default=sa.false()))
