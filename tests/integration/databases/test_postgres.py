"""PostgreSQL: a server that stops, restarts, hangs, is overloaded or read-only, lost answers, and locked rows."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import asyncpg
import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from pycalc.db import migrate_database, open_database
from pycalc.db.base import Database, HistoryFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.db.postgres import PostgresDatabase, Timeouts
from pycalc.db.tables import users as users_table
from pycalc.db.users import SqlUserStore
from pycalc.errors import OutcomeUnknown, StoreReadOnly, StoreUnavailable
from pycalc.models.history import HistoryRow
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.resources import accounts
from pycalc.services.accounts.revocation_watcher import RevocationWatcher
from pycalc.services.history.recorder import Recorder
from pycalc.settings import Settings
from tests.harness.accounts import new_session
from tests.harness.in_process import changed, in_process
from tests.harness.postgres import OWNER, Postgres, missing, postgres
from tests.harness.proxy import proxy
from tests.harness.servers import API_ROLE, KEYS
from tests.harness.stores import history_row
from tests.harness.waiting import found, until

pytestmark = [pytest.mark.anyio, pytest.mark.programs]
ALL = HistoryFilter()
# The deadline for work that must end by itself; sleeps and outages in these tests last longer.
SECONDS = 30.0
# Statements after which each SELECT ... FOR UPDATE of the history waits for the advisory lock 1, except the owner's.
WAITING_LOCKS = (
    "CREATE FUNCTION waits() RETURNS boolean LANGUAGE plpgsql "
    "AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END'",
    "ALTER TABLE history ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY reading ON history FOR SELECT USING (true)",
    "CREATE POLICY locking ON history FOR UPDATE USING (waits())",
    "CREATE POLICY deleting ON history FOR DELETE USING (true)",
)


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    """Run a PostgreSQL server for this module, which its tests may stop."""
    if missing():
        pytest.skip(missing() or "")
    with postgres() as running:
        yield running


@pytest.fixture
def url(own_server: Postgres) -> str:
    """Return the URL of an empty, migrated database."""
    url = own_server.new_database()
    asyncio.run(migrate_database(url))
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Open the database."""
    opened = await open_database(url)
    yield opened
    await opened.aclose()


@contextmanager
def hanging(server: Postgres) -> Iterator[None]:
    """Suspend every process of the server by SIGSTOP during the ``with`` block."""
    pids = server.processes()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # had exited before, and was reaped just now
                os.kill(pid, signal.SIGCONT)


async def refused_meanwhile(history: SqlHistoryStore, database: Database) -> None:
    """Assert that an append, a read and a ping each raise StoreUnavailable within 30 s."""
    for act in (history.append([history_row()]), history.page(ALL, None, 1), database.ping()):
        async with asyncio.timeout(SECONDS):
            with pytest.raises(StoreUnavailable):
                await act


async def waiting(connection: AsyncConnection) -> bool | None:
    """Return True if two statements wait for the table ``history``, otherwise None."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'history'::regclass")
    return await connection.scalar(query) == 2 or None


async def blocked(connection: AsyncConnection) -> bool | None:
    """Return True if a statement waits for a row that this connection's transaction has locked, otherwise None."""
    # PostgreSQL caches pg_stat_activity until the end of a transaction, but not pg_locks.
    query = text(
        "SELECT true FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)) LIMIT 1"
    )
    return await connection.scalar(query) or None


async def appended(history: SqlHistoryStore) -> HistoryRow | None:
    """Append a row and return the row, or None if the database is not available."""
    row = history_row()
    try:
        await history.append([row])
    except StoreUnavailable:
        return None
    return row


async def test_commits_are_durable(own_server: Postgres, url: str, database: Database) -> None:
    """Connections set ``synchronous_commit`` to on, even if the database's default is off."""
    name = url.rpartition("/")[2]
    own_server.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    opened = await open_database(url)
    try:
        shown = await opened.write(lambda connection: connection.scalar(text("SHOW synchronous_commit")))
    finally:
        await opened.aclose()
    assert shown == "on"


async def test_a_restart_costs_no_row(own_server: Postgres, database: Database) -> None:
    """The first append after an immediate restart of the server succeeds, although all connections were closed."""
    history = SqlHistoryStore(database)
    rows = [history_row(number) for number in range(4)]
    await history.append(rows[:2])
    own_server.restart("immediate")
    await history.append(rows[2:])
    assert await history.page(ALL, None, 10) == rows[::-1]


async def test_a_commit_whose_answer_is_lost_is_stored_once(own_server: Postgres, url: str) -> None:
    """If the connection breaks between a commit and its answer, the append succeeds, and each row is stored once."""
    async with proxy(own_server.port) as between:
        database = await open_database(url.replace(str(own_server.port), str(between.port)))
        history = SqlHistoryStore(database)
        rows = [history_row(number) for number in range(3)]
        await history.append(rows[:1])
        between.swallow_answers_to = rows[1].id
        await history.append(rows[1:])
        assert between.swallowed == 1
        assert await history.page(ALL, None, 10) == rows[::-1]
        await database.aclose()


async def test_a_commit_that_a_shutdown_cuts_off_is_unknown(own_server: Postgres, url: str, database: Database) -> None:
    """If the server stops during an append, the caller learns that it is not known what was stored."""
    history = SqlHistoryStore(database)
    recorder = Recorder(history, Metrics(), lambda _: None)
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.connect() as other:
        await other.execute(text("LOCK TABLE history"))
        recorded = recorder.record([history_row()])
        await until(lambda: database.queue_lengths()["insert"] == 1, "the append has begun")
        appending = asyncio.create_task(history.append([history_row()]))
        await found(lambda: waiting(other), "both appends wait for the table")
        await asyncio.to_thread(own_server.stop)
        try:
            outcomes = await asyncio.gather(recorded, appending, return_exceptions=True)
        finally:
            await asyncio.to_thread(own_server.start)
        await other.invalidate()  # the server has closed it
    await engine.dispose()
    await recorder.aclose()
    unknown = "The database has not confirmed the"
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, OutcomeUnknown]
    assert [str(outcome).partition(". ")[0] for outcome in outcomes] == [
        f"{unknown} commit: it is not known whether the calculation is recorded",
        f"{unknown} change: it is not known whether the change was stored",
    ]


async def test_a_write_whose_answer_to_the_commit_is_lost_is_unknown(own_server: Postgres, url: str) -> None:
    """If the connection breaks between the commit of a write and its answer, the outcome is unknown."""
    async with proxy(own_server.port) as between:
        database = await open_database(url.replace(str(own_server.port), str(between.port)))
        between.swallow_answers_to = b"COMMIT"
        with pytest.raises(OutcomeUnknown, match="it is not known whether the change was stored"):
            await SqlHistoryStore(database).probe()
        assert between.swallowed == 1
        await database.aclose()


async def test_a_server_that_is_down_is_unavailability_and_recovers(own_server: Postgres, database: Database) -> None:
    """While the server is down, reads and appends are refused; afterwards they succeed."""
    history = SqlHistoryStore(database)
    await history.append([history_row()])
    own_server.stop("immediate")
    try:
        await refused_meanwhile(history, database)
    finally:
        own_server.start()
    row = await found(lambda: appended(history), "rows are appended again")
    assert row in await history.page(ALL, None, 10)


async def test_a_server_that_hangs_is_unavailability(own_server: Postgres, database: Database) -> None:
    """While the server hangs with open connections, reads and appends are refused; afterwards they succeed."""
    history = SqlHistoryStore(database)
    await history.append([history_row()])
    with hanging(own_server):
        await refused_meanwhile(history, database)
    row = await found(lambda: appended(history), "rows are appended again")
    assert row in await history.page(ALL, None, 10)


@pytest.mark.parametrize(("queue", "connections"), [("read", 6), ("write", 3)])
async def test_what_takes_all_connections_of_a_queue_does_not_keep_rows_out(
    database: Database, queue: str, connections: int
) -> None:
    """While slow reads or slow writes take all connections of their kind, appends succeed; the slow calls time out."""
    history = SqlHistoryStore(database)
    run = database.read if queue == "read" else database.write
    slow = [
        asyncio.ensure_future(run(lambda connection: connection.execute(text("SELECT pg_sleep(60)"))))
        for _ in range(connections + 1)
    ]
    await asyncio.sleep(0)
    assert database.queue_lengths()[queue] == connections + 1
    await history.append([history_row()])
    assert not any(task.done() for task in slow)
    async with asyncio.timeout(SECONDS):
        outcomes = await asyncio.gather(*slow, return_exceptions=True)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert len(await history.page(ALL, None, 10)) == 1


async def test_a_burst_of_writes_does_not_delay_the_ping(database: Database) -> None:
    """While all writing connections are busy and more writes wait, the ping is answered."""
    slow = [
        asyncio.ensure_future(database.write(lambda connection: connection.execute(text("SELECT pg_sleep(60)"))))
        for _ in range(20)
    ]
    await asyncio.sleep(0)
    await database.ping()
    assert not any(task.done() for task in slow)
    await asyncio.gather(*slow, return_exceptions=True)


async def test_more_than_can_wait_is_refused_at_once(database: Database) -> None:
    """Of 400 simultaneous pings, the 144 above the limit of 256 are refused because the database is overloaded."""
    outcomes = await asyncio.gather(*(database.ping() for _ in range(400)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert all(isinstance(outcome, StoreUnavailable) for outcome in refused)
    assert sum("is overloaded" in str(outcome) for outcome in refused) == 400 - 256


async def test_a_prune_does_not_wait_for_another(url: str, database: Database) -> None:
    """A prune skips rows that another transaction has locked, and returns 0 once only such rows are left."""
    history, outbox = SqlHistoryStore(database), SqlOutboxStore(database)
    rows = [history_row(number) for number in range(5)]
    await history.append(rows)
    await outbox.remove([entry.seq for entry in await outbox.pending(10)])
    before = IdSource().next()
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with asyncio.timeout(SECONDS), engine.begin() as other:
        await other.execute(text("SELECT id FROM history ORDER BY id LIMIT 2 FOR UPDATE"))
        assert [await history.prune(before, 2) for _ in range(3)] == [2, 1, 0]
    await engine.dispose()
    assert await history.page(ALL, None, 10) == rows[1::-1]
    assert await history.prune(before, 2) == 2


async def test_a_prune_keeps_a_row_whose_event_comes_into_the_outbox_meanwhile(postgres_url: str) -> None:
    """A prune keeps a row if its event is put into the outbox while the prune's locking statement runs.

    That statement does not see the new entry. A policy makes it wait for an advisory lock once it has its snapshot.
    """
    database = PostgresDatabase(postgres_url, Timeouts(statement=SECONDS, answer=SECONDS))
    history, outbox = SqlHistoryStore(database), SqlOutboxStore(database)
    rows = [history_row(number) for number in range(3)]
    await history.append(rows)
    await outbox.remove([entry.seq for entry in await outbox.pending(10)])
    owner = postgres_url.replace(f"://{API_ROLE}@", f"+asyncpg://{OWNER}@")
    engine = create_async_engine(owner, isolation_level="AUTOCOMMIT")
    async with asyncio.timeout(SECONDS), engine.connect() as other:
        for statement in WAITING_LOCKS:
            await other.execute(text(statement))
        await other.execute(text("SELECT pg_advisory_lock(1)"))
        pruning = asyncio.create_task(history.prune(IdSource().next(), 10))
        await found(lambda: blocked(other), "the locking statement waits")
        refill = text("INSERT INTO outbox (history_id) SELECT id FROM history WHERE id = :id FOR UPDATE")
        await other.execute(refill, {"id": rows[1].id})
        await other.execute(text("SELECT pg_advisory_unlock(1)"))
        assert await pruning == 2
    await engine.dispose()
    assert await history.page(ALL, None, 10) == [rows[1]]
    assert [entry.row for entry in await outbox.pending(10)] == [rows[1]]
    await database.aclose()


async def test_no_bootstrap_token_is_offered_while_the_first_admin_registers(url: str, database: Database) -> None:
    """An instance that starts while the first admin registers offers no bootstrap token."""
    users = SqlUserStore(database)
    await users.offer_bootstrap(bytes(32))
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as other:
        await other.execute(text("DELETE FROM bootstrap"))
        offering = asyncio.create_task(users.offer_bootstrap(b"1" * 32, replace=False))
        await found(lambda: blocked(other), "the offer waits for the registration")
        names = dict.fromkeys(("username", "username_key", "email", "email_key", "password_hash"), "ada")
        admin = {"id": IdSource().next(), "role": "admin", "created_ms": 0, **names}
        await other.execute(insert(users_table).values(admin))
    await engine.dispose()
    assert not await offering
    assert await users.bootstrap_hash() is None


async def test_a_read_only_database_fails_the_ping(own_server: Postgres, url: str, database: Database) -> None:
    """While the database is read-only, as after a failover, the ping fails; later it succeeds without a restart."""
    name, history = url.rpartition("/")[2], SqlHistoryStore(database)
    own_server.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    own_server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pycalc'")
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="read-only"):
            await database.ping()
        with pytest.raises(StoreUnavailable):
            await history.append([history_row()])
        with pytest.raises(StoreUnavailable):
            await history.probe()
    with pytest.raises(StoreUnavailable, match="read-only"):
        await open_database(url)
    own_server.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    for _ in range(5):
        await database.ping()
        await history.append([history_row()])
        await history.probe()
    assert len(await history.page(ALL, None, 10)) == 5


READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"  # as a former primary, which is a standby now


async def test_a_refused_write_replaces_the_older_connections(database: PostgresDatabase) -> None:
    """If a connection refuses a write as read-only, the next writes use new connections, which may find the primary."""

    async def connections() -> set[int]:
        together = text("SELECT pg_backend_pid() FROM pg_sleep(0.1)")
        writes = (database.write(lambda connection: connection.scalar(together)) for _ in range(3))
        return set(await asyncio.gather(*writes))

    before = await connections()
    await database.write(lambda connection: connection.exec_driver_sql(READ_ONLY))
    with pytest.raises(StoreReadOnly):
        await SqlHistoryStore(database).probe()
    assert len(before) == 3
    assert before.isdisjoint(await connections())


@pytest.mark.parametrize("kind", ["append", "write"])
async def test_a_former_primary_that_vanishes_after_a_refusal_fails_no_write(
    own_server: Postgres, url: str, kind: str
) -> None:
    """After a refusal as read-only, writes succeed even if the older connections lead to a host that has vanished."""
    async with proxy(own_server.port) as between:
        database = PostgresDatabase(url.replace(str(own_server.port), str(between.port)), Timeouts(statement=0.5))
        history = SqlHistoryStore(database)

        async def act() -> None:
            await (history.append([history_row()]) if kind == "append" else history.probe())

        async def refused(*, expected: bool) -> bool | None:
            refused = isinstance((await asyncio.gather(act(), return_exceptions=True))[0], StoreReadOnly)
            return refused == expected or None

        pause = text("SELECT pg_sleep(0.1)")  # so that each pool has several connections
        await asyncio.gather(*(database.write(lambda connection: connection.execute(pause)) for _ in range(3)))
        await asyncio.gather(*(history.append([history_row()]) for _ in range(8)))
        own_server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        own_server.sql("SELECT pg_reload_conf()")
        try:
            await found(partial(refused, expected=True), "a refusal")
            between.vanish()
        finally:
            own_server.sql("ALTER SYSTEM RESET default_transaction_read_only")
            own_server.sql("SELECT pg_reload_conf()")
        await found(partial(refused, expected=False), "a success")
        await asyncio.gather(*(act() for _ in range(8)))
        await database.aclose()


async def test_a_refused_write_does_not_wait_for_a_server_that_hangs(
    own_server: Postgres, database: PostgresDatabase
) -> None:
    """If a server refuses a write as read-only and then hangs, the caller learns that nothing was stored."""
    await database.write(lambda connection: connection.exec_driver_sql(READ_ONLY))
    with ExitStack() as hung:
        engine = database._queues["write"].engine.sync_engine
        event.listen(engine, "handle_error", lambda _: hung.enter_context(hanging(own_server)), insert=True)
        async with asyncio.timeout(SECONDS):
            with pytest.raises(StoreReadOnly):
                await SqlHistoryStore(database).probe()
            await database.aclose()


async def test_a_refused_append_does_not_wait_for_a_server_that_hangs(
    own_server: Postgres, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a server refuses an append as read-only and then hangs, the caller learns that nothing was stored."""
    history = SqlHistoryStore(database)
    await history.append([history_row()])

    async def refuse(*_: object, **_options: object) -> None:
        raise asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction")

    monkeypatch.setattr(asyncpg.Connection, "execute", refuse)
    with hanging(own_server):
        async with asyncio.timeout(SECONDS):
            with pytest.raises(StoreReadOnly):
                await history.append([history_row()])
            await database.aclose()


async def test_an_unreachable_server_is_a_domain_error(own_server: Postgres) -> None:
    """If the server can't be reached, or has no database of this name, opening raises StoreUnavailable."""
    for url in ("postgresql://pycalc@127.0.0.1:1/pycalc", own_server.url("nowhere")):
        with pytest.raises(StoreUnavailable):
            await open_database(url)


async def test_a_remembered_token_is_not_believed_while_the_database_hangs(
    own_server: Postgres, url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database hangs, a cached token gets 503, because revocations can't be read; afterwards it is accepted.

    The request has an invalid operand, so that only its token needs the database: an accepted token gets 422.
    """
    watcher = partial(RevocationWatcher, poll_seconds=0.1, trust_seconds=0.5)
    monkeypatch.setattr(accounts, "RevocationWatcher", watcher)
    shared = changed(settings, database_url=url, **KEYS)
    async with in_process(shared) as client:
        await new_session(client)

        async def answered(status: int) -> bool | None:
            return (await client.get("/fibonacci/-1")).status_code == status or None

        assert await answered(422)
        with hanging(own_server):
            await found(lambda: answered(503), "the token is refused")
        await found(lambda: answered(422), "the token is accepted again")
