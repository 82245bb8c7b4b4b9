"""The scopes and limits of API keys, and the address of each key's last use."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_BEFORE = "calculate history:read usage:read events:read account:read"


def upgrade() -> None:
    """Add columns to ``api_keys``. Existing keys, and keys that older releases create, keep all their rights."""
    op.add_column("api_keys", sa.Column("used_from", sa.String(64)))
    op.add_column("api_keys", sa.Column("scopes", sa.String(200), nullable=False, server_default=_BEFORE))
    op.add_column("api_keys", sa.Column("allow_query", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("api_keys", sa.Column("rate_limit", sa.String(100)))
    op.add_column("api_keys", sa.Column("compute_quota", sa.String(32)))
    op.add_column("api_keys", sa.Column("digits_quota", sa.String(32)))
