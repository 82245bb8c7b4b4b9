"""Second factors of accounts, and their identities at an identity provider."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the tables of second factors and identities, and add ``users.totp``.

    No account has a second factor or an identity yet.
    """
    op.create_table(
        "totp",
        sa.Column("user_id", sa.LargeBinary(16), nullable=False),
        sa.Column("secret", sa.LargeBinary(64), nullable=False),
        sa.Column("last_step", sa.BigInteger()),
        sa.Column("recovery", sa.LargeBinary(320)),
        sa.PrimaryKeyConstraint("user_id", name="pk_totp"),
    )
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("user_id", sa.LargeBinary(16), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_identities"),
        sa.UniqueConstraint("user_id", name="uq_identities_user_id"),
    )
    op.add_column("users", sa.Column("totp", sa.Boolean(), nullable=False, server_default=sa.false()))
