"""The requests that were recorded with idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Create the table, in SQLite with row ids, because a table without them stores short blobs on overflow pages."""
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary(16), nullable=False),
        sa.Column("calculations", sa.LargeBinary(), nullable=False),
        sa.Column("problems", sa.LargeBinary()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False, index=True),
    )
