"""Tables that coordinate several processes: leases, and revocations of users' access."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables of leases and revocations, and the counter that numbers the revocations."""
    leases = op.create_table(
        "leases",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("owner", sa.LargeBinary(16)),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(leases, [{"name": "relay", "owner": None, "until_ms": 0}])
    counter = op.create_table(
        "revocation_counter",
        sa.Column("id", sa.Integer(), autoincrement=False, primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(counter, [{"id": 1, "value": 0}])
    op.create_table(
        "revocations",
        sa.Column("number", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("user_id", sa.LargeBinary(16), nullable=False),
    )
