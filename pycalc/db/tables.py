"""The definitions of the tables for queries. The migrations create the tables."""

from __future__ import annotations

import sqlalchemy as sa

from pycalc.models.auth import DEFAULT_SCOPES

metadata = sa.MetaData(
    naming_convention={  # existing databases have these names: the migrations use them too
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def search_key(name: str) -> str:
    """Return a name in lower case, as it is stored in columns for searching, such as ``username_key``: cut if too long.

    Characters that PostgreSQL rejects (NUL and lone surrogates) become question marks. No account's name has them.
    """
    short = name.lower()[:254]  # the width of the columns; the lower case of U+0130 has two characters
    return short.encode(errors="replace").decode().replace("\x00", "?")


_ID = sa.LargeBinary(16)
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("username", sa.String(32), nullable=False),
    sa.Column("username_key", sa.String(32), nullable=False, unique=True),
    sa.Column("email", sa.String(254), nullable=False),
    sa.Column("email_key", sa.String(254), nullable=False, unique=True),
    sa.Column("password_hash", sa.String(200), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("rate_limit", sa.String(100)),
    sa.Column("compute_quota", sa.String(32)),
    sa.Column("digits_quota", sa.String(32)),
    sa.Column("history_quota", sa.BigInteger),
    sa.Column("totp", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("signed_in_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),  # 0: never
)
sa.Index(None, users.c.created_ms, users.c.id)
sa.Index(None, users.c.signed_in_ms, users.c.id)

totp = sa.Table(
    "totp",
    metadata,
    sa.Column("user_id", _ID, primary_key=True),
    sa.Column("secret", sa.LargeBinary(64), nullable=False),
    sa.Column("last_step", sa.BigInteger),
    sa.Column("recovery", sa.LargeBinary(320)),  # the packed hashes of the recovery codes
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("user_id", _ID, nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("prefix", sa.String(16), nullable=False),
    sa.Column("key_hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger),
    sa.Column("used_ms", sa.BigInteger),
    sa.Column("used_from", sa.String(64)),
    sa.Column("scopes", sa.String(200), nullable=False, server_default=DEFAULT_SCOPES),
    sa.Column("allow_query", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("rate_limit", sa.String(100)),
    sa.Column("compute_quota", sa.String(32)),
    sa.Column("digits_quota", sa.String(32)),
)
sa.Index(None, api_keys.c.user_id, api_keys.c.id)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("user_id", _ID, nullable=False),
    sa.Column("refresh_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("previous_hash", sa.LargeBinary(32)),
    sa.Column("sibling_hash", sa.LargeBinary(32)),
    sa.Column("family_hash", sa.LargeBinary(32)),
    sa.Column("chains", sa.LargeBinary),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("used_ms", sa.BigInteger, nullable=False),
    sa.Column("rotated_ms", sa.BigInteger, nullable=False),
    sa.Column("address", sa.String(45)),
    sa.Column("client", sa.String(100)),
)
sa.Index(None, sessions.c.user_id, sessions.c.used_ms)

identities = sa.Table(
    "identities",
    metadata,
    sa.Column("issuer", sa.String(255), primary_key=True),
    sa.Column("subject", sa.String(255), primary_key=True),
    sa.Column("user_id", _ID, nullable=False, unique=True),
)

retired_names = sa.Table(
    "retired_names",
    metadata,
    sa.Column("username_key", sa.String(32), primary_key=True),
    sa.Column("user_id", _ID, primary_key=True),
    sa.Column("reserved_until_ms", sa.BigInteger),
)

deleted_accounts = sa.Table(
    "deleted_accounts",
    metadata,
    sa.Column("user_id", _ID, primary_key=True),
    sa.Column("erase", sa.Boolean, nullable=False),
    sa.Column("deleted_ms", sa.BigInteger, nullable=False),
)

password_resets = sa.Table(
    "password_resets",
    metadata,
    sa.Column("user_id", _ID, primary_key=True),
    sa.Column("token_hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
)

bootstrap = sa.Table(
    "bootstrap",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
)

history = sa.Table(
    "history",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("user_id", _ID, nullable=False),
    sa.Column("username", sa.String(32), nullable=False),
    sa.Column("operation", sa.String(32), nullable=False),
    sa.Column("input", sa.Text, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("digits", sa.Text, nullable=False),
    sa.Column("exact", sa.Boolean, nullable=False),
    sa.Column("leading", sa.String(20), nullable=False),
    sa.Column("trailing", sa.String(20), nullable=False),
    sa.Column("sha256", sa.LargeBinary(32)),
    sa.Column("cached", sa.Boolean, nullable=False),
    sa.Column("elapsed_us", sa.BigInteger, nullable=False),
    sa.Column("traceparent", sa.String(55)),
    sa.Column("created_ms", sa.BigInteger),
    sqlite_with_rowid=False,  # clustered by id: one B-tree less to write for each row
)
sa.Index(None, history.c.user_id, history.c.id)
sa.Index(None, history.c.user_id, history.c.operation, history.c.id)
sa.Index(None, history.c.operation, history.c.id)

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("user_id", _ID, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False, index=True),
    sa.Column("operation", sa.String(32), primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("cached", sa.BigInteger, nullable=False),
    sa.Column("digits_high", sa.BigInteger, nullable=False),
    sa.Column("digits_low", sa.BigInteger, nullable=False),
    sa.Column("compute_us", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

consumed = sa.Table("consumed", metadata, sa.Column("event_id", _ID, primary_key=True), sqlite_with_rowid=False)

quota_uses = sa.Table(
    "quota_uses",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("user_id", _ID, nullable=False),
    sa.Column("quota", sa.String(16), nullable=False),
    sa.Column("ends", sa.BigInteger, nullable=False, index=True),
    sa.Column("used", sa.BigInteger, nullable=False),
)
sa.Index(None, quota_uses.c.user_id, quota_uses.c.ends)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary(16), nullable=False),
    sa.Column("calculations", sa.LargeBinary, nullable=False),
    sa.Column("problems", sa.LargeBinary),
    sa.Column("created_ms", sa.BigInteger, nullable=False, index=True),
)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("number", _SEQUENCE, primary_key=True, autoincrement=True),
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("event_id", _ID),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,  # the number of a deleted dead letter is never given again
)
sa.Index(None, dead_letters.c.event_id)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("owner", _ID),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
)

revocation_counter = sa.Table(
    "revocation_counter",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)

revocations = sa.Table(
    "revocations",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_id", _ID, nullable=False),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    sa.Column("history_id", _ID, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("actor", sa.String(254)),
    sa.Column("subject", sa.String(254)),
    sa.Column("address", sa.String(64)),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("actor_key", sa.String(254)),
    sa.Column("subject_key", sa.String(254)),
)
sa.Index(None, audit.c.action, audit.c.id)
sa.Index(None, audit.c.actor_key, audit.c.id)
sa.Index(None, audit.c.subject_key, audit.c.id)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("command", sa.String(16), nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("started_ms", sa.BigInteger, nullable=False),
    sa.Column("seen_ms", sa.BigInteger, nullable=False),
    sa.Column("figures", sa.Text, nullable=False),
)
