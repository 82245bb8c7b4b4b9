"""The addresses and devices of sessions, reserved names, deleted accounts, and password resets."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns and tables. The names of accounts deleted before this revision are not reserved."""
    op.add_column("sessions", sa.Column("address", sa.String(45)))
    op.add_column("sessions", sa.Column("client", sa.String(100)))
    op.add_column("retired_names", sa.Column("reserved_until_ms", sa.BigInteger()))
    op.create_table(
        "deleted_accounts",
        sa.Column("user_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("erase", sa.Boolean(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "password_resets",
        sa.Column("user_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
