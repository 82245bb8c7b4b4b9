"""The audit log, the running processes, the times of last sign-ins, and indexes by which users are sorted."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

# The database itself refuses to change entries of the audit log.
_APPEND_ONLY = {
    "sqlite": [
        "CREATE TRIGGER audit_append_only BEFORE UPDATE ON audit "
        "BEGIN SELECT RAISE(ABORT, 'audit entries do not change'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'audit entries do not change'; END $$",
        "CREATE TRIGGER audit_append_only BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_append_only()",
    ],
}


def upgrade() -> None:
    """Add the columns, indexes, tables and trigger. Sign-ins before this revision are unknown."""
    op.add_column("users", sa.Column("signed_in_ms", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.create_index("ix_users_created_ms_id", "users", ["created_ms", "id"])
    op.create_index("ix_users_signed_in_ms_id", "users", ["signed_in_ms", "id"])
    op.create_table(
        "audit",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(254)),
        sa.Column("subject", sa.String(254)),
        sa.Column("address", sa.String(64)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("actor_key", sa.String(254)),
        sa.Column("subject_key", sa.String(254)),
    )
    op.create_index("ix_audit_action_id", "audit", ["action", "id"])
    op.create_index("ix_audit_actor_key_id", "audit", ["actor_key", "id"])
    op.create_index("ix_audit_subject_key_id", "audit", ["subject_key", "id"])
    op.create_table(
        "instances",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("command", sa.String(16), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
    )
    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)
