"""Accounts, the bootstrap token, the history and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


_TRIGGER = {
    "sqlite": [
        "CREATE TRIGGER history_outbox AFTER INSERT ON history "
        "BEGIN INSERT INTO outbox (history_id) VALUES (NEW.id); END"
    ],
    "postgresql": [
        "CREATE FUNCTION history_outbox() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO outbox (history_id) SELECT id FROM added ORDER BY id; RETURN NULL; END $$",
        "CREATE TRIGGER history_outbox AFTER INSERT ON history "
        "REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION history_outbox()",
    ],
}


def _key(length: int) -> sa.types.TypeEngine[str]:
    """Return a text type that compares byte by byte, independent of the database's locale."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Create the first tables, and the trigger that adds each history row to the outbox."""
    op.create_table(
        "users",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("username", sa.String(32), nullable=False),
        sa.Column("username_key", _key(32), nullable=False, unique=True),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", _key(254), nullable=False, unique=True),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "retired_names",
        sa.Column("username_key", _key(32), primary_key=True),
        sa.Column("user_id", sa.LargeBinary(16), primary_key=True),
    )
    op.create_table(
        "bootstrap",
        sa.Column("id", sa.Integer(), autoincrement=False, primary_key=True),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "history",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("user_id", sa.LargeBinary(16), nullable=False),
        sa.Column("username", sa.String(32), nullable=False),
        sa.Column("operation", sa.String(32), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("digits", sa.Text(), nullable=False),
        sa.Column("exact", sa.Boolean(), nullable=False),
        sa.Column("leading", sa.String(20), nullable=False),
        sa.Column("trailing", sa.String(20), nullable=False),
        sa.Column("sha256", sa.LargeBinary(32)),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("elapsed_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_history_user_id_id", "history", ["user_id", "id"])
    op.create_index("ix_history_user_id_operation_id", "history", ["user_id", "operation", "id"])
    op.create_index("ix_history_operation_id", "history", ["operation", "id"])
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, primary_key=True),
        sa.Column("history_id", sa.LargeBinary(16), nullable=False),
    )
    for statement in _TRIGGER[op.get_bind().dialect.name]:
        op.execute(statement)
