"""The amounts of quotas that users have used."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the table of the amounts of quotas that users have used. Earlier calculations are not counted."""
    op.create_table(
        "quota_uses",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("user_id", sa.LargeBinary(16), nullable=False),
        sa.Column("quota", sa.String(16), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False, index=True),
        sa.Column("used", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_quota_uses_user_id_ends", "quota_uses", ["user_id", "ends"])
