"""The statements that grant a PostgreSQL role its rights, on a connection that only records them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy import Connection

from pycalc.db.roles import DatabaseRole, api_role, grant

RIGHTS = {"outbox": "SELECT, INSERT"}


class NotedStatements:
    """A connection of the role ``owner`` that records statements; ``known`` tells whether the role ``api`` exists."""

    def __init__(self, *, known: bool) -> None:
        self.known = known
        self.noted: list[str] = []

    def scalar(self, query: object, _: object = None) -> Any:
        """Return the result of one of the three queries of ``grant``."""
        if "current_user" in str(query):
            return "owner"
        return "public" if "current_schema" in str(query) else (1 if self.known else None)

    def exec_driver_sql(self, statement: str) -> None:
        """Record a statement."""
        self.noted.append(statement)


def granted(role: DatabaseRole, *, known: bool) -> list[str]:
    """Return the statements that grant a role its rights, without ``LOGIN`` and the password after it."""
    connection = NotedStatements(known=known)
    grant(cast("Connection", connection), role)
    return [statement.partition(" LOGIN")[0] for statement in connection.noted]


GRANTS = [
    "GRANT USAGE ON SCHEMA public TO api",
    f"REVOKE ALL ON {', '.join(api_role('api').rights)} FROM api",
    "REVOKE ALL ON SEQUENCE outbox_seq_seq, dead_letters_number_seq FROM api",
    "GRANT SELECT, INSERT ON outbox TO api",
    "GRANT USAGE ON SEQUENCE outbox_seq_seq TO api",
]


@pytest.mark.parametrize(("known", "verb"), [(False, "CREATE"), (True, "ALTER")])
def test_a_password_makes_the_role_or_is_set(known: bool, verb: str) -> None:
    """A role with a password is created, or gets the password if it exists; then it gets its rights."""
    assert granted(DatabaseRole("api", "a-long-random-password", RIGHTS), known=known) == [f"{verb} ROLE api", *GRANTS]


def test_without_a_password_the_role_is_as_the_server_has_it() -> None:
    """A role without a password is neither created nor altered; it only gets its rights."""
    assert granted(DatabaseRole("api", None, RIGHTS), known=True) == GRANTS
