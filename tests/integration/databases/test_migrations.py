"""Migrations of SQLite and PostgreSQL: they create the tables that the queries use, and keep existing data."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from pycalc.db import migrate_database, migrations, open_database
from pycalc.db.base import DeadLetter, HistoryFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlDeadLetterStore, SqlOutboxStore
from pycalc.db.postgres import PostgresDatabase
from pycalc.db.roles import DatabaseRole
from pycalc.db.tables import metadata
from pycalc.db.users import SqlUserStore
from pycalc.errors import StoreUnavailable
from tests.contract.backends import DATABASES, each
from tests.harness.postgres import OWNER, Postgres
from tests.harness.waiting import found

T = TypeVar("T")

pytestmark = pytest.mark.anyio

USER = bytes(15) + b"u"
# A query for transactions that wait to change a table; it returns the same row as long as the transaction is the same.
WAITING = (
    "SELECT virtualtransaction FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE mode = 'AccessExclusiveLock' AND NOT granted AND datname = current_database()"
)
ROWS = [bytes(15) + bytes([number]) for number in range(3)]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def _revision(revision: str) -> list[str]:
    """Return the SQL statements that create Alembic's table and store ``revision`` in it."""
    table = "CREATE TABLE alembic_version (version_num varchar(32))"
    return [table, f"INSERT INTO alembic_version VALUES ('{revision}')"]  # noqa: S608  # constants of these tests


REVISIONS = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]
BEFORE_HISTORY = "0008"  # revision 0009 adds a column to the history


@pytest.fixture(params=each(DATABASES))
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database without tables; each test runs once with SQLite and once with PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'pycalc.db'}"
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.new_database()


async def _on(url: str, work: Callable[[Connection], T]) -> T:
    """Run ``work`` in a transaction on a connection of its own, and return its result."""
    if url.startswith("sqlite"):
        file = create_engine(url)
        with file.begin() as connection:
            result = work(connection)
        file.dispose()
        return result
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        async with engine.begin() as shared:
            return await shared.run_sync(work)
    finally:
        await engine.dispose()


def _upgrade_to(revision: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    return work


def _fill(connection: Connection) -> None:
    """Store an account and three calculations, in columns that every revision has."""
    connection.execute(
        text(
            "INSERT INTO users (id, username, username_key, email, email_key, password_hash, role, created_ms) "
            "VALUES (:id, 'Ada', 'ada', 'Ada@example.com', 'ada@example.com', '$2b$hash', 'admin', 1700000000123)"
        ),
        {"id": USER},
    )
    connection.execute(
        text(
            "INSERT INTO history (id, user_id, username, operation, input, result, digits, exact, "
            '"leading", "trailing", sha256, cached, elapsed_us) VALUES '
            "(:id, :user, 'Ada', 'fibonacci', '{}', '55', '2', true, '55', '55', :digest, false, 20)"
        ),
        [{"id": row, "user": USER, "digest": bytes(32)} for row in ROWS],
    )


@pytest.fixture
def old_url(postgres_server: Postgres) -> str:
    """Return the URL of a PostgreSQL database whose next migration changes the history table."""
    url = postgres_server.new_database()
    asyncio.run(_on(url, _upgrade_to(BEFORE_HISTORY)))
    return url


async def test_a_table_in_use_is_waited_for_without_holding_up_inserts(old_url: str) -> None:
    """A migration that waits for a table in use lets writes through; its error says what to do."""
    reader = await asyncpg.connect(old_url)
    writer = await asyncpg.connect(old_url)
    try:
        async with reader.transaction():
            await reader.execute("SELECT count(*) FROM history")
            migrating = asyncio.ensure_future(
                PostgresDatabase.migrate(old_url, lock_seconds=0.2, tries=3, pause_seconds=0.01)
            )
            await found(lambda: writer.fetchval(WAITING), "the migration waits for the table")
            async with asyncio.timeout(30):
                await writer.execute("DELETE FROM history WHERE false")
            with pytest.raises(StoreUnavailable) as refusal:
                await migrating
            assert "run `pycalc migrate` again" in refusal.value.detail
    finally:
        await reader.close()
        await writer.close()
    assert await _on(old_url, migrations.current) == BEFORE_HISTORY


async def test_a_migration_goes_on_when_the_table_is_free(old_url: str) -> None:
    """A migration that finds its table in use tries again, and succeeds once the table is free."""
    reader, observer = await asyncpg.connect(old_url), await asyncpg.connect(old_url)
    transaction = reader.transaction()
    await transaction.start()
    await reader.execute("SELECT count(*) FROM history")
    migrating = asyncio.ensure_future(
        PostgresDatabase.migrate(old_url, lock_seconds=0.1, tries=10_000, pause_seconds=0.01)
    )
    tries: set[str] = set()

    async def tried_twice() -> bool | None:
        tries.update(row[0] for row in await observer.fetch(WAITING))
        return len(tries) > 1 or None

    try:
        await found(tried_twice, "a second try waits for the table")
    finally:
        await transaction.rollback()
        await reader.close()
        await observer.close()
    await migrating
    assert await _on(old_url, migrations.current) == migrations.HEAD


def test_head_is_the_newest_revision() -> None:
    """``migrations.HEAD`` is the newest revision, and the ids of the revisions ascend."""
    assert ScriptDirectory.from_config(_config()).get_heads() == [migrations.HEAD]
    assert sorted(REVISIONS) == REVISIONS


@pytest.mark.parametrize("revision", [None, "0001", REVISIONS[-2]])
def test_an_older_revision_is_refused(revision: str | None) -> None:
    """A database with an older revision, or with none, is refused with a message that names ``pycalc migrate``."""
    with pytest.raises(StoreUnavailable, match="run `pycalc migrate` first"):
        migrations.require_current(revision)


@pytest.mark.parametrize("revision", [migrations.HEAD, "9999"])
def test_the_newest_revision_and_later_ones_will_do(revision: str) -> None:
    """A database with the program's revision or a later one is accepted, so that a release can be rolled back."""
    migrations.require_current(revision)


async def test_migrated_tables_are_the_queries_tables(bare_url: str) -> None:
    """Alembic finds no difference between migrated tables and the metadata: tables, columns, indexes."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    await migrate_database(bare_url)
    assert await _on(bare_url, differences) == []
    assert await _on(bare_url, migrations.current) == migrations.HEAD


async def test_migrated_tables_have_the_metadatas_keys(bare_url: str) -> None:
    """Migrated primary keys have the metadata's columns in the same order, which Alembic does not compare."""

    def keys(connection: Connection) -> dict[str, list[str]]:
        inspector = inspect(connection)
        return {name: inspector.get_pk_constraint(name)["constrained_columns"] for name in metadata.tables}

    await migrate_database(bare_url)
    expected = {name: [column.name for column in table.primary_key] for name, table in metadata.tables.items()}
    assert await _on(bare_url, keys) == expected


async def test_migrated_sqlite_tables_are_laid_out_as_the_metadata_says(tmp_path: Path) -> None:
    """Migrated SQLite tables are declared WITHOUT ROWID exactly where the metadata says so."""

    def layout(connection: Connection) -> list[tuple[object, ...]]:
        tables = text("SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND name != 'alembic_version'")
        return sorted(tuple(row) for row in connection.execute(tables) if not row.name.startswith("sqlite_"))

    migrated, made = (f"sqlite:///{tmp_path / name}.db" for name in ("migrated", "made"))
    await migrate_database(migrated)
    await _on(made, metadata.create_all)
    assert await _on(migrated, layout) == await _on(made, layout)


def test_the_database_numbers_what_has_an_order_of_its_own() -> None:
    """Only the keys of the tables ``outbox`` and ``dead_letters`` are numbers that the database generates."""
    numbered = {str(table.autoincrement_column) for table in metadata.tables.values()} - {"None"}
    assert numbered == {"outbox.seq", "dead_letters.number"}


@pytest.mark.parametrize("revision", REVISIONS)
async def test_upgrading_from_each_revision_keeps_the_data(bare_url: str, revision: str) -> None:
    """After an upgrade from any revision, the accounts, history and unpublished events can be read."""
    await _on(bare_url, _upgrade_to(revision))
    await _on(bare_url, _fill)
    await migrate_database(bare_url)
    database = await open_database(bare_url)
    try:
        ada = await SqlUserStore(database).by_username("ada")
        assert ada is not None
        assert (ada.id, ada.username, ada.email, ada.role, ada.disabled) == (
            USER,
            "Ada",
            "Ada@example.com",
            "admin",
            False,
        )
        rows = await SqlHistoryStore(database).page(HistoryFilter(), None, 10)
        assert [(row.id, row.result, row.sha256) for row in rows] == [(row, "55", bytes(32)) for row in ROWS[::-1]]
        assert [entry.row.id for entry in await SqlOutboxStore(database).pending(10)] == ROWS
    finally:
        await database.aclose()


async def test_dead_letters_keep_their_numbers(bare_url: str) -> None:
    """Migration 0017 keeps the numbers of dead letters; a new dead letter gets the next free number."""
    await _on(bare_url, _upgrade_to("0016"))
    letter = DeadLetter(1, "consumer", b"e" * 16, "topic/0/7", "not ours", b"junk\xff\0", 1_700_000_000_123)
    insertion = (
        "INSERT INTO dead_letters (stage, event_id, origin, reason, payload, created_ms) "
        "VALUES (:stage, :event_id, :origin, :reason, :payload, :created_ms)"
    )
    await _on(bare_url, lambda connection: connection.execute(text(insertion), letter._asdict()))
    await migrate_database(bare_url)
    database = await open_database(bare_url)
    try:
        letters = SqlDeadLetterStore(database)
        await letters.put([letter])
        assert await letters.page(0, 10) == [letter, letter._replace(number=2)]
    finally:
        await database.aclose()


async def test_a_server_that_is_not_migrated_is_refused_with_a_sentence(postgres_server: Postgres) -> None:
    """A PostgreSQL database without tables or with older ones is refused with a message about ``pycalc migrate``."""
    url = postgres_server.new_database()
    for revision in (None, REVISIONS[-2]):
        if revision is not None:
            await _on(url, _upgrade_to(revision))
        with pytest.raises(StoreUnavailable, match="pycalc migrate"):
            await open_database(url)


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["CREATE TABLE users (id int)"], "it has a table 'users'"),
        (["CREATE VIEW history AS SELECT 1"], "it has a table 'history'"),
        (["CREATE TABLE users (id int)", *_revision("0003")], "its tables are of revision '0003'"),
        (_revision("ab12cd34"), "its tables are of revision 'ab12cd34'"),
    ],
)
async def test_another_program_s_database_is_named(
    postgres_server: Postgres, statements: list[str], reason: str
) -> None:
    """A server and a migration refuse another program's database with the same sentence, and change nothing."""
    url = postgres_server.new_database()

    def prepare(connection: Connection) -> list[str]:
        for statement in statements:
            connection.execute(text(statement))
        return sorted(inspect(connection).get_table_names())

    before = await _on(url, prepare)
    for act in (open_database, migrate_database):
        with pytest.raises(StoreUnavailable, match=f"The database belongs to another program: {reason}. Set PYCALC_"):
            await act(url)
    assert await _on(url, lambda connection: sorted(inspect(connection).get_table_names())) == before


@pytest.mark.parametrize("shadowing", ["TABLE users (id int)", "VIEW usage AS SELECT 1"])
async def test_another_program_s_tables_in_another_schema_do_no_harm(postgres_server: Postgres, shadowing: str) -> None:
    """If pycalc has a schema of its own, tables of another program in ``public`` may have the same names."""
    url = postgres_server.new_database()

    def prepare(connection: Connection) -> None:
        connection.execute(text(f"CREATE {shadowing}"))
        connection.execute(text("CREATE SCHEMA pycalc"))  # the default search path begins with the role's own schema

    def tables(schema: str) -> Callable[[Connection], set[str]]:
        def work(connection: Connection) -> set[str]:
            inspector = inspect(connection)
            return {*inspector.get_table_names(schema), *inspector.get_view_names(schema)}

        return work

    await _on(url, prepare)
    before = await _on(url, tables("public"))
    await migrate_database(url)
    await (await open_database(url)).aclose()
    assert await _on(url, tables("pycalc")) == {*metadata.tables, "alembic_version"}
    assert await _on(url, tables("public")) == before


async def test_tables_further_on_the_search_path_are_pycalc_s(postgres_server: Postgres) -> None:
    """A role that gets a schema of its own after the first migration still finds pycalc's tables in ``public``."""
    url = postgres_server.new_database()
    await migrate_database(url)
    await _on(url, lambda connection: connection.execute(text("CREATE SCHEMA pycalc")))
    await migrate_database(url)
    await (await open_database(url)).aclose()
    assert await _on(url, lambda connection: inspect(connection).get_table_names("pycalc")) == []


async def test_other_tables_in_a_database_do_no_harm(postgres_server: Postgres) -> None:
    """A migration accepts tables whose names pycalc does not need, such as those of an extension."""
    url = postgres_server.new_database()
    await _on(url, lambda connection: connection.execute(text("CREATE TABLE recipes (name text)")))
    await migrate_database(url)


async def test_a_first_migration_names_the_index_of_another_program(postgres_server: Postgres) -> None:
    """A first migration that needs the name of another program's index says so."""
    url = postgres_server.new_database()
    statement = "CREATE TABLE recipes (name text CONSTRAINT pk_users PRIMARY KEY)"
    await _on(url, lambda connection: connection.execute(text(statement)))
    with pytest.raises(StoreUnavailable, match=r'needs a name that is taken \(relation "pk_users" already exists'):
        await migrate_database(url)


@pytest.mark.parametrize(
    ("revision", "statement", "taken"),
    [
        ("0003", "CREATE TABLE leases (name text)", 'relation "leases" already exists'),
        (
            "0016",
            "CREATE INDEX ix_dead_letters_event_id ON dead_letters (event_id)",
            'relation "ix_dead_letters_event_id" already exists',
        ),
        (
            "0006",
            "ALTER TABLE history ADD traceparent text",
            'column "traceparent" of relation "history" already exists',
        ),
    ],
)
async def test_a_name_that_is_taken_in_pycalc_s_database_is_named(
    postgres_server: Postgres, revision: str, statement: str, taken: str
) -> None:
    """If an object made by hand has a name that a migration needs, the error names it, and nothing is changed."""
    url = postgres_server.new_database()
    await _on(url, _upgrade_to(revision))
    await _on(url, lambda connection: connection.execute(text(statement)))
    with pytest.raises(StoreUnavailable) as refusal:
        await migrate_database(url)
    assert refusal.value.detail == (
        f"The migration needs a name that is taken ({taken}): rename or drop that object, and run "
        "`pycalc migrate` again."
    )
    assert await _on(url, migrations.current) == revision


async def test_a_role_that_another_migration_has_just_created_is_no_other_program_s(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another migration has just created the role, the error does not say that the database is another program's."""

    def create_too_late(connection: Connection, role: DatabaseRole) -> None:
        connection.exec_driver_sql(f"CREATE ROLE {role.name}")

    monkeypatch.setattr("pycalc.db.postgres_migration.grant", create_too_late)
    with pytest.raises(StoreUnavailable) as refusal:
        await migrate_database(postgres_server.new_database(), [DatabaseRole(OWNER, None, {})])
    assert refusal.value.detail == "The database is not available."
    assert 'DuplicateObjectError: role "pycalc" already exists' in refusal.value.reason


async def test_a_newer_schema_serves_an_older_program(bare_url: str) -> None:
    """An older program accepts a database with a newer revision, and its migration leaves the revision unchanged."""
    await migrate_database(bare_url)
    await _on(bare_url, lambda connection: connection.execute(text("UPDATE alembic_version SET version_num='9999'")))
    await migrate_database(bare_url)
    await (await open_database(bare_url)).aclose()
    assert await _on(bare_url, migrations.current) == "9999"


def _migrating(url: str, folder: Path) -> subprocess.Popen[str]:
    """Start ``pycalc migrate`` as a deployment does, with the database's URL and without keys."""
    return subprocess.Popen(
        [sys.executable, "-m", "pycalc", "migrate"],
        env={
            "PYCALC_DATABASE_URL": url,
            "PYTHONPATH": ":".join(sys.path),
            "PATH": os.environ["PATH"],
        },
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_migrates_and_can_be_repeated(bare_url: str, tmp_path: Path) -> None:
    """``pycalc migrate`` creates the tables, prints no URL, and changes nothing the second time."""
    for _ in range(2):
        with _migrating(bare_url, tmp_path) as command:
            assert command.communicate(timeout=60) == ("the database is up to date\n", "")
            assert command.returncode == 0
    assert asyncio.run(_on(bare_url, migrations.current)) == migrations.HEAD


async def test_a_migration_that_ends_while_a_server_starts_is_no_other_program_s(
    postgres_server: Postgres, tmp_path: Path
) -> None:
    """If the first migration is committed while a server looks for the revision, the server finds it."""
    url = postgres_server.new_database()

    def migrate(*_: object) -> None:
        with _migrating(url, tmp_path) as command:
            assert command.communicate(timeout=60) == ("the database is up to date\n", "")

    def current(connection: Connection) -> str | None:
        event.listen(connection, "after_cursor_execute", migrate, once=True)
        return migrations.current(connection)

    assert await _on(url, current) == migrations.HEAD


def test_migrations_at_the_same_time_wait_for_each_other(postgres_server: Postgres, tmp_path: Path) -> None:
    """Three migrations of one database at the same time all succeed."""
    url = postgres_server.new_database()
    commands = [_migrating(url, tmp_path) for _ in range(3)]
    assert [command.communicate(timeout=60)[1] for command in commands] == ["", "", ""]
    assert [command.returncode for command in commands] == [0, 0, 0]
