"""The rights of the PostgreSQL roles of servers and of consumers; the role that migrates owns the tables."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Mapping
from functools import partial
from hashlib import pbkdf2_hmac, sha256
from typing import NamedTuple

from sqlalchemy import Connection, text

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_PASSWORD = re.compile(r"[!-~]{16,}")  # no other characters: these are the same before and after SASLprep (RFC 4013)
_ITERATIONS = 4096  # PostgreSQL's own default; more would delay each new connection, and the password is random

# To lock rows (SELECT ... FOR UPDATE), a role needs UPDATE too.
_ALL, _NO_CHANGES = "SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT, DELETE"
_API = {  # every table of this release
    "alembic_version": "SELECT",
    "leases": "SELECT, INSERT, UPDATE",
    "revocation_counter": "SELECT, UPDATE",
    **dict.fromkeys(("users", "totp", "api_keys", "sessions", "bootstrap"), _ALL),
    **dict.fromkeys(("history", "usage", "quota_uses", "idempotency_keys", "instances"), _ALL),
    **dict.fromkeys(("identities", "retired_names", "deleted_accounts", "password_resets"), _NO_CHANGES),
    **dict.fromkeys(("consumed", "dead_letters", "revocations", "outbox"), _NO_CHANGES),
    "audit": _NO_CHANGES,  # entries are pruned, and never changed
}
_CONSUMER = {
    "alembic_version": "SELECT",
    "history": "SELECT",
    "outbox": "SELECT, DELETE",
    "leases": "SELECT, UPDATE",
    "usage": "SELECT, INSERT, UPDATE",
    "consumed": "SELECT, INSERT",
    "dead_letters": "SELECT (number), INSERT",  # SQLAlchemy asks for the number of a new one
    "instances": _ALL,
}
_SEQUENCES = {"outbox": "outbox_seq_seq", "dead_letters": "dead_letters_number_seq"}


class DatabaseRole(NamedTuple):
    """A role and its rights by table; with a password, the migration creates the role or sets its password."""

    name: str
    password: str | None
    rights: Mapping[str, str]


def _role(setting: str, rights: Mapping[str, str], text: str) -> DatabaseRole:
    """Return a role, written ``NAME`` or ``NAME:PASSWORD``; raises ValueError for other texts."""
    name, separator, password = text.partition(":")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{setting}: the role's name has up to 63 lower-case letters, digits and underscores")
    if separator and not _PASSWORD.fullmatch(password):
        raise ValueError(f"{setting}: the password has 16 ASCII characters or more, none of them a space")
    return DatabaseRole(name, password if separator else None, rights)


api_role = partial(_role, "PYCALC_DATABASE_API_ROLE", _API)  # the role of servers
consumer_role = partial(_role, "PYCALC_DATABASE_CONSUMER_ROLE", _CONSUMER)  # the role of relays and consumers


def grant(connection: Connection, role: DatabaseRole) -> None:
    """Replace the rights of a role on all tables of this release, within the caller's transaction.

    Rights on other tables are not revoked. If ``role`` has a password, create the role if it is missing, else set
    its password. Raises ValueError for the role of the connection, which owns the tables and would lose its rights.
    """
    if connection.scalar(text("SELECT current_user")) == role.name:
        raise ValueError(f"the role {role.name} migrates the database: give servers and consumers roles of their own")
    if role.password is not None:
        known = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": role.name})
        verb = "ALTER" if known else "CREATE"
        connection.exec_driver_sql(f"{verb} ROLE {role.name} LOGIN PASSWORD '{_verifier(role.password)}'")
    schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {role.name}")
    connection.exec_driver_sql(f"REVOKE ALL ON {', '.join(_API)} FROM {role.name}")
    connection.exec_driver_sql(f"REVOKE ALL ON SEQUENCE {', '.join(_SEQUENCES.values())} FROM {role.name}")
    for table, rights in role.rights.items():
        connection.exec_driver_sql(f"GRANT {rights} ON {table} TO {role.name}")
        if table in _SEQUENCES and "INSERT" in rights:
            connection.exec_driver_sql(f"GRANT USAGE ON SEQUENCE {_SEQUENCES[table]} TO {role.name}")


def _verifier(password: str) -> str:
    """Return a password's SCRAM verifier (RFC 5803), so that no log of SQL statements shows the password."""
    salt = secrets.token_bytes(16)
    salted = pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(_ITERATIONS, *parts)
