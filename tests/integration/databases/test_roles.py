"""The separate roles of PostgreSQL: each program can do its work, and nothing else.

All other tests with a migrated PostgreSQL connect in the role of servers. The processes ``pycalc relay`` and
``pycalc consume`` that they start connect in the role of consumers.
"""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import asyncpg
import pytest

from pycalc.db import migrate_database, open_database
from pycalc.db.base import DeadLetter, Instance
from pycalc.db.history import SqlHistoryStore
from pycalc.db.instances import SqlInstanceStore
from pycalc.db.outbox import SqlDeadLetterStore, SqlOutboxStore
from pycalc.db.roles import api_role, consumer_role
from pycalc.db.tables import metadata
from pycalc.db.usage import SqlUsageStore
from pycalc.models.usage import Use
from tests.harness.postgres import Postgres
from tests.harness.servers import API_ROLE, CONSUMER_ROLE
from tests.harness.stores import history_row

pytestmark = pytest.mark.anyio

LETTER = DeadLetter(0, "relay", None, "here", "a reason", b"{}", 1)
REFUSED = {
    API_ROLE: [
        "ALTER TABLE users ADD COLUMN spy text",
        "CREATE TABLE mine (id int)",
        "DROP TABLE history",
        "TRUNCATE audit",
        "UPDATE audit SET actor = 'somebody else'",
        "UPDATE alembic_version SET version_num = '0001'",
        "ALTER TABLE audit DISABLE TRIGGER audit_append_only",
    ],
    CONSUMER_ROLE: [
        "SELECT password_hash FROM users",
        "SELECT key_hash FROM api_keys",
        "SELECT * FROM sessions",
        "SELECT * FROM audit",
        "DELETE FROM audit",
        "UPDATE history SET result = '0'",
        "DELETE FROM history",
        "INSERT INTO outbox (history_id) VALUES ('x')",
        "DELETE FROM usage",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE outbox ADD COLUMN spy text",
    ],
}


@pytest.mark.parametrize(("role", "statement"), [(role, each) for role in REFUSED for each in REFUSED[role]])
async def test_what_is_none_of_a_role_s_business_is_refused(postgres_url: str, role: str, statement: str) -> None:
    """A role is refused statements outside its rights, such as changing tables or the audit log."""
    connection = await asyncpg.connect(postgres_url.replace(f"//{API_ROLE}@", f"//{role}@"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((API_ROLE, API_ROLE), "must be two different roles"),
        (("pycalc", CONSUMER_ROLE), "give servers and consumers roles of their own"),
    ],
)
async def test_roles_that_would_take_each_other_s_rights_are_refused(
    postgres_server: Postgres, names: tuple[str, str], sentence: str
) -> None:
    """A migration refuses to give servers and consumers the same role, or servers the owner's role."""
    with pytest.raises(ValueError, match=sentence):
        await migrate_database(postgres_server.new_database(), [api_role(names[0]), consumer_role(names[1])])


async def test_relay_and_consumer_can_do_their_work(postgres_url: str) -> None:
    """The role of consumers may make the database calls of the relay and the consumer."""
    async with (
        aclosing(await open_database(postgres_url)) as servers,
        aclosing(await open_database(postgres_url.replace(f"//{API_ROLE}@", f"//{CONSUMER_ROLE}@"))) as consumers,
    ):
        rows = [history_row(number) for number in range(3)]
        await SqlHistoryStore(servers).append(rows)
        outbox, owner = SqlOutboxStore(consumers), bytes(16)
        assert await outbox.hold(owner, 10_000)
        first, second, third = await outbox.pending(10)
        await outbox.remove([first.seq])
        await outbox.dead_letter({second.seq: LETTER})
        assert [entry.seq for entry in await outbox.pending(10)] == [third.seq]
        assert await outbox.backlog() == 1
        await outbox.release(owner)

        usage, use = SqlUsageStore(consumers), Use(bytes(16), bytes(16), 0, "pow", cached=False, digits=1, compute_us=1)
        assert [await usage.count([use]), await usage.count([use])] == [1, 0]
        await SqlDeadLetterStore(consumers).put([LETTER])
        assert await SqlDeadLetterStore(servers).size() == 2

        instances = SqlInstanceStore(consumers)
        for seen in (1, 2):
            await instances.report(Instance(owner, "consume", "1", 1, seen, "{}"), 0)
        await instances.report(Instance(bytes(15) + b"1", "consume", "1", 9, 9, "{}"), 5)
        await instances.forget(bytes(15) + b"1")
        assert await SqlInstanceStore(servers).all(9) == []


def test_every_table_has_its_rights() -> None:
    """The role of servers has rights on every table, and the role of consumers on some of them."""
    assert api_role(API_ROLE).rights.keys() == {*metadata.tables, "alembic_version"}
    assert consumer_role(CONSUMER_ROLE).rights.keys() < api_role(API_ROLE).rights.keys()


async def test_a_migration_takes_back_what_a_role_no_longer_needs(postgres_server: Postgres, migrated: str) -> None:
    """A repeated migration revokes a right that somebody granted to a role by hand."""
    role = postgres_server.new_database(migrated)
    owner = role.replace(f"//{API_ROLE}@", "//pycalc@")
    connection = await asyncpg.connect(owner)
    try:
        await connection.execute(f"GRANT ALL ON audit TO {API_ROLE}")
        await migrate_database(owner, [api_role(API_ROLE)])
        query = "SELECT has_table_privilege($1, 'audit', 'UPDATE'), has_table_privilege($1, 'audit', 'INSERT')"
        assert tuple(await connection.fetchrow(query, API_ROLE)) == (False, True)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Pycalc", "the role's name has up to 63 lower-case letters"),
        ('x" SUPERUSER', "the role's name has up to 63 lower-case letters"),
        ("pycalc_api:short", "the password has 16 ASCII characters or more"),
    ],
)
def test_a_mistake_in_a_role_is_named(text: str, sentence: str) -> None:
    """The message about an invalid role begins with the setting's name, and does not contain the password."""
    with pytest.raises(ValueError, match=f"^PYCALC_DATABASE_API_ROLE: {sentence}") as refusal:
        api_role(text)
    assert "short" not in str(refusal.value).partition(":")[2]


async def test_an_sqlite_file_has_no_roles(tmp_path: Path) -> None:
    """Roles for an SQLite file are refused with a message."""
    with pytest.raises(ValueError, match="an SQLite file has no roles"):
        await migrate_database(f"sqlite:///{tmp_path}/pycalc.db", [api_role(API_ROLE)])


async def test_the_former_role_of_servers_has_no_right_left_as_that_of_consumers(
    postgres_server: Postgres, migrated: str
) -> None:
    """If the servers' role becomes the consumers' role, a migration revokes its rights on accounts and sequences."""
    owner = postgres_server.new_database(migrated).replace(f"//{API_ROLE}@", "//pycalc@")
    await migrate_database(owner, [consumer_role(API_ROLE)])
    connection = await asyncpg.connect(owner)
    try:
        readable = {
            table
            for table in metadata.tables
            if await connection.fetchval("SELECT has_any_column_privilege($1, $2, 'SELECT')", API_ROLE, table)
        }
        query = "SELECT has_sequence_privilege($1, $2, 'USAGE')"
        sequences = ("outbox_seq_seq", "dead_letters_number_seq")
        usable = [await connection.fetchval(query, API_ROLE, sequence) for sequence in sequences]
    finally:
        await connection.close()
    assert readable == consumer_role(API_ROLE).rights.keys() - {"alembic_version"}
    assert usable == [False, True]
