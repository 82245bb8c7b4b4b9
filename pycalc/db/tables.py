"""The definitions of the tables for queries. The migrations create the tables."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

from pycalc.models.scopes import DEFAULT_SCOPES

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_ID = LargeBinary(16)
_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")

users = Table(
    "users",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("username", String(32), nullable=False),
    Column("username_key", String(32), nullable=False, unique=True),
    Column("email", String(254), nullable=False),
    Column("email_key", String(254), nullable=False, unique=True),
    Column("password_hash", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("rate_limit", String(100)),
    Column("compute_quota", String(32)),
    Column("digits_quota", String(32)),
    Column("history_quota", BigInteger),
    Column("totp", Boolean, nullable=False, server_default=false()),
    Column("signed_in_ms", BigInteger, nullable=False, server_default=text("0")),  # 0: never
)
Index(None, users.c.created_ms, users.c.id)
Index(None, users.c.signed_in_ms, users.c.id)

totp = Table(
    "totp",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("secret", LargeBinary(64), nullable=False),
    Column("last_step", BigInteger),
    Column("recovery", LargeBinary(320)),  # the packed hashes of the recovery codes
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("name", String(100), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("key_hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("used_ms", BigInteger),
    Column("used_from", String(64)),
    Column("scopes", String(200), nullable=False, server_default=DEFAULT_SCOPES),
    Column("allow_query", Boolean, nullable=False, server_default=false()),
    Column("rate_limit", String(100)),
    Column("compute_quota", String(32)),
    Column("digits_quota", String(32)),
)
Index(None, api_keys.c.user_id, api_keys.c.id)

sessions = Table(
    "sessions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("refresh_hash", LargeBinary(32), nullable=False),
    Column("previous_hash", LargeBinary(32)),
    Column("sibling_hash", LargeBinary(32)),
    Column("family_hash", LargeBinary(32)),
    Column("chains", LargeBinary),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
    Column("rotated_ms", BigInteger, nullable=False),
    Column("address", String(45)),
    Column("client", String(100)),
)
Index(None, sessions.c.user_id, sessions.c.used_ms)

identities = Table(
    "identities",
    metadata,
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", _ID, nullable=False, unique=True),
)

retired_names = Table(
    "retired_names",
    metadata,
    Column("username_key", String(32), primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("reserved_until_ms", BigInteger),
)

deleted_accounts = Table(
    "deleted_accounts",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("erase", Boolean, nullable=False),
    Column("deleted_ms", BigInteger, nullable=False),
)

password_resets = Table(
    "password_resets",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("expires_ms", BigInteger, nullable=False),
)

bootstrap = Table(
    "bootstrap",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("token_hash", LargeBinary(32), nullable=False),
)

history = Table(
    "history",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("username", String(32), nullable=False),
    Column("operation", String(32), nullable=False),
    Column("input", Text, nullable=False),
    Column("result", Text),
    Column("digits", Text, nullable=False),
    Column("exact", Boolean, nullable=False),
    Column("leading", String(20), nullable=False),
    Column("trailing", String(20), nullable=False),
    Column("sha256", LargeBinary(32)),
    Column("cached", Boolean, nullable=False),
    Column("elapsed_us", BigInteger, nullable=False),
    Column("traceparent", String(55)),
    Column("created_ms", BigInteger),
    sqlite_with_rowid=False,  # clustered by id: one B-tree less to write for each row
)
Index(None, history.c.user_id, history.c.id)
Index(None, history.c.user_id, history.c.operation, history.c.id)
Index(None, history.c.operation, history.c.id)

usage = Table(
    "usage",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False, index=True),
    Column("operation", String(32), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("digits_high", BigInteger, nullable=False),
    Column("digits_low", BigInteger, nullable=False),
    Column("compute_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

consumed = Table("consumed", metadata, Column("event_id", _ID, primary_key=True), sqlite_with_rowid=False)

quota_uses = Table(
    "quota_uses",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("quota", String(16), nullable=False),
    Column("ends", BigInteger, nullable=False, index=True),
    Column("used", BigInteger, nullable=False),
)
Index(None, quota_uses.c.user_id, quota_uses.c.ends)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("fingerprint", LargeBinary(16), nullable=False),
    Column("calculations", LargeBinary, nullable=False),
    Column("problems", LargeBinary),
    Column("created_ms", BigInteger, nullable=False, index=True),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("number", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("stage", String(16), nullable=False),
    Column("event_id", _ID),
    Column("origin", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # the number of a deleted dead letter is never given again
)
Index(None, dead_letters.c.event_id)

leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("owner", _ID),
    Column("until_ms", BigInteger, nullable=False),
)

revocation_counter = Table(
    "revocation_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)

revocations = Table(
    "revocations",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", _ID, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("history_id", _ID, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("action", String(64), nullable=False),
    Column("actor", String(254)),
    Column("subject", String(254)),
    Column("address", String(64)),
    Column("outcome", String(16), nullable=False),
    Column("details", Text, nullable=False),
    Column("actor_key", String(254)),
    Column("subject_key", String(254)),
)
Index(None, audit.c.action, audit.c.id)
Index(None, audit.c.actor_key, audit.c.id)
Index(None, audit.c.subject_key, audit.c.id)

instances = Table(
    "instances",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("command", String(16), nullable=False),
    Column("version", String(32), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("figures", Text, nullable=False),
)
