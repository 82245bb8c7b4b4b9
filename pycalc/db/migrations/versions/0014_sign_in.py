"""Second factors of accounts, and their identities at an identity provider."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the two tables, and add ``users.totp``."""
    op.create_table(
        "totp",
        sa.Column("user_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("secret", sa.LargeBinary(64), nullable=False),
        sa.Column("last_step", sa.BigInteger()),
        sa.Column("recovery", sa.LargeBinary(320)),
    )
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(255), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("user_id", sa.LargeBinary(16), nullable=False, unique=True),
    )
    op.add_column("users", sa.Column("totp", sa.Boolean(), nullable=False, server_default=sa.false()))
