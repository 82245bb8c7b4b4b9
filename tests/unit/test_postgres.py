"""The PostgreSQL adapter without a server: the mapping of errors, retries and limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from pycalc.db import open_database, postgres
from pycalc.db.postgres import PostgresDatabase, Timeouts
from pycalc.db.rows import arrays_insert
from pycalc.db.tables import history, outbox
from pycalc.errors import OutcomeUnknown, RowsRejected, StoreReadOnly, StoreUnavailable
from tests.harness.garbage import garbage
from tests.harness.servers import free_port
from tests.harness.stores import history_row

pytestmark = pytest.mark.anyio

ROWS = [history_row(number) for number in range(3)]
GONE = asyncpg.exceptions.AdminShutdownError("the server shuts down")
REFUSED = asyncpg.exceptions.InvalidCatalogNameError("there is no such database")


class Scripted(PostgresDatabase):
    """A database whose statements have these outcomes in turn; the last one is repeated."""

    def __init__(self, *outcomes: Exception | None) -> None:
        super().__init__("postgresql://127.0.0.1:1/nowhere", Timeouts(unknown=0.3, pause=0.01))
        self.outcomes = list(outcomes)
        self.statements: list[str] = []
        self.seconds: list[float] = []

    async def _execute(self, statement: str, columns: Sequence[Sequence[object]], seconds: float) -> None:
        assert [*zip(*columns, strict=True)] == [tuple(row) for row in ROWS]
        self.statements.append(statement)
        self.seconds.append(seconds)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if outcome is not None:
            raise outcome


PLAIN = arrays_insert(history)
AGAIN = f"{PLAIN} ON CONFLICT DO NOTHING"


def test_rows_are_inserted_by_one_array_for_each_column() -> None:
    """One statement inserts any number of rows, with one typed array for each column."""
    assert arrays_insert(outbox) == (
        'INSERT INTO outbox ("seq", "history_id") SELECT * FROM unnest($1::bigint[], $2::bytea[])'
    )


async def test_rows_are_inserted_once() -> None:
    """If no error occurs, rows are inserted by one statement, which may take the whole time limit."""
    database = Scripted(None)
    await database.insert(history, ROWS)
    assert (database.statements, database.seconds) == ([PLAIN], [1.0])


async def test_a_lost_answer_is_made_sure_of() -> None:
    """If the reply is lost, the insert is repeated in the remaining time, and skips rows that are stored already."""
    database = Scripted(postgres._ReplyLost(), postgres._ReplyLost(), None)
    await database.insert(history, ROWS)
    assert database.statements == [PLAIN, AGAIN, AGAIN]
    assert 0.3 > database.seconds[1] > database.seconds[2] > 0


async def test_a_refusal_after_a_lost_answer_is_retried() -> None:
    """After a lost reply, an insert is retried even if it is refused, because the first one may have succeeded."""
    database = Scripted(postgres._ReplyLost(), REFUSED, None)
    await database.insert(history, ROWS)
    assert database.statements == [PLAIN, AGAIN, AGAIN]


async def test_an_answer_that_stays_lost_is_unknown() -> None:
    """If every reply is lost until the time limit, OutcomeUnknown is raised."""
    began = monotonic()
    database = Scripted(postgres._ReplyLost())
    with pytest.raises(OutcomeUnknown, match="it is not known whether the change was stored"):
        await database.insert(history, ROWS)
    assert monotonic() - began >= 0.3
    assert len(database.statements) > 2
    assert database.seconds[-1] >= 0.01


@pytest.mark.parametrize("error", [GONE, OSError("refused"), asyncpg.InterfaceError("closed"), PoolTimeoutError()])
async def test_a_server_that_is_gone_is_waited_for(error: Exception) -> None:
    """While the server is away, the statement is retried; at the time limit, StoreUnavailable is raised."""
    database = Scripted(error, error, None)
    await database.insert(history, ROWS)
    assert database.statements == [PLAIN] * 3
    with pytest.raises(StoreUnavailable) as refusal:
        await Scripted(error).insert(history, ROWS)
    assert not isinstance(refusal.value, OutcomeUnknown)


async def test_a_refusal_is_not_retried() -> None:
    """If a running server refuses a statement, it is not retried."""
    database = Scripted(REFUSED)
    with pytest.raises(StoreUnavailable):
        await database.insert(history, ROWS)
    assert database.statements == [PLAIN]


def panic(code: str) -> asyncpg.PostgresError:
    """Return the error by which a server reports that it crashes, as when its write-ahead log can't be synced."""
    fields = {"S": "PANIK", "V": "PANIC", "C": code, "M": "could not fdatasync file"}
    return asyncpg.PostgresError.new(fields)


CRASHES = pytest.mark.parametrize("code", ["58030", "53100"])  # io_error, disk_full


class Crashing:
    """An engine, its connection and the driver's connection of a server that crashes during each commit."""

    def __init__(self, error: asyncpg.PostgresError) -> None:
        self.error = error
        self.driver_connection = self
        self.executed = 0
        self.terminated = False
        self.invalidated = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Crashing]:
        yield self
        raise DBAPIError("COMMIT", None, self.error)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Crashing]:
        yield self

    async def run_sync(self, work: Callable[[Connection], object]) -> object:
        return work(cast("Connection", self))

    async def get_raw_connection(self) -> Crashing:
        return self

    async def execute(self, *_: object, **_options: float) -> None:
        self.executed += 1
        raise self.error

    def terminate(self) -> None:
        self.terminated = True

    async def invalidate(self) -> None:
        self.invalidated = True


@CRASHES
async def test_a_write_during_whose_commit_the_server_crashes_is_unknown(code: str) -> None:
    """If the server crashes during a commit, OutcomeUnknown is raised, because its recovery may complete the commit."""
    database = PostgresDatabase("postgresql://127.0.0.1:1/nowhere")
    database._queues["write"].engine = cast("AsyncEngine", Crashing(panic(code)))
    with pytest.raises(OutcomeUnknown, match="it is not known whether the change was stored"):
        await database.write(lambda _: None)


async def test_a_write_whose_commit_is_refused_is_not_unknown() -> None:
    """If the server refuses a commit without crashing, StoreUnavailable is raised, because nothing is stored."""
    refusal = asyncpg.PostgresError.new({"S": "ERROR", "V": "ERROR", "C": "53100", "M": "the disk is full"})
    database = PostgresDatabase("postgresql://127.0.0.1:1/nowhere")
    database._queues["write"].engine = cast("AsyncEngine", Crashing(refusal))
    with pytest.raises(StoreUnavailable) as refused:
        await database.write(lambda _: None)
    assert not isinstance(refused.value, OutcomeUnknown)


@CRASHES
async def test_an_insert_during_which_the_server_crashes_is_unknown(code: str) -> None:
    """If every try of an insert ends in a crash of the server, OutcomeUnknown is raised."""
    database = PostgresDatabase("postgresql://127.0.0.1:1/nowhere", Timeouts(unknown=0.1))
    engine = Crashing(panic(code))
    database._queues["insert"].engine = cast("AsyncEngine", engine)
    with pytest.raises(OutcomeUnknown, match="it is not known whether the change was stored"):
        await database.insert(history, ROWS)
    assert engine.invalidated


async def test_an_insert_that_is_refused_as_read_only_closes_its_connection() -> None:
    """If the server refuses an insert as read-only, the connection is closed at once, and the insert is not retried."""
    database = PostgresDatabase("postgresql://127.0.0.1:1/nowhere")
    engine = Crashing(asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"))
    database._queues["insert"].engine = cast("AsyncEngine", engine)
    with pytest.raises(StoreReadOnly):
        await database.insert(history, ROWS)
    assert engine.terminated
    assert engine.invalidated
    assert engine.executed == 1


@pytest.mark.parametrize("kind", [IntegrityError, DataError])
async def test_rows_that_can_not_be_stored_are_rejected(kind: type[DBAPIError]) -> None:
    """Rows that can't be stored are rejected at once, because trying again would not help."""
    database = Scripted(kind("INSERT", None, Exception()))
    with pytest.raises(RowsRejected):
        await database.insert(history, ROWS)
    assert database.statements == [PLAIN]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return the port of a server that accepts connections and never answers."""
    with garbage(b"") as port:
        yield port


@pytest.fixture
async def silent(silent_port: int) -> AsyncIterator[PostgresDatabase]:
    """Return a database on a server that never answers."""
    # With TLS, asyncpg leaves an exception unretrieved if the time limit ends just when the connection is made.
    url = f"postgresql://127.0.0.1:{silent_port}/nowhere?sslmode=disable"
    database = PostgresDatabase(url, Timeouts(answer=0.2, connect=0.4))
    yield database
    await database.aclose()


def one(connection: Connection) -> object:
    """Select the number one."""
    return connection.execute(text("SELECT 1")).scalar_one()


async def test_more_work_than_may_wait_is_refused_at_once(silent: PostgresDatabase) -> None:
    """If 256 reads are pending, another one is refused at once, while writes and inserts are still accepted."""
    reads = [asyncio.create_task(silent.read(one)) for _ in range(257)]
    await asyncio.sleep(0)
    assert silent.queue_lengths() == {"read": 256, "reserved": 0, "write": 0, "insert": 0, "ping": 0}
    with pytest.raises(StoreUnavailable, match="is overloaded"):
        await reads[-1]
    writing, inserting = asyncio.create_task(silent.write(one)), asyncio.create_task(silent.insert(history, ROWS))
    await asyncio.sleep(0)
    assert silent.queue_lengths() == {"read": 256, "reserved": 0, "write": 1, "insert": 1, "ping": 0}
    outcomes = await asyncio.gather(*reads[:-1], writing, inserting, return_exceptions=True)
    details = {outcome.detail for outcome in outcomes[:256] if isinstance(outcome, StoreUnavailable)}
    assert details == {"The database does not answer in time."}
    assert [type(outcome) for outcome in outcomes[256:]] == [OutcomeUnknown, OutcomeUnknown]


async def test_a_queue_that_has_drained_takes_work_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the 256 pending reads have ended, further reads are accepted."""
    database, answered = PostgresDatabase("postgresql://127.0.0.1:1/nowhere"), asyncio.Event()

    async def transact(_name: str, _work: object) -> int:
        await answered.wait()
        return 1

    monkeypatch.setattr(database, "_transact", transact)
    reads = [asyncio.create_task(database.read(one)) for _ in range(257)]
    await asyncio.sleep(0)
    answered.set()
    outcomes = await asyncio.gather(*reads, return_exceptions=True)
    assert outcomes[:-1] == [1] * 256
    assert isinstance(outcomes[-1], StoreUnavailable)
    assert await database.read(one) == 1


async def test_each_kind_of_work_has_connections_of_its_own() -> None:
    """Reads have 6 connections, reserved reads 1, writes 3, inserts 2 and readiness checks 1."""
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = PostgresDatabase(f"postgresql://127.0.0.1:{port}/nowhere", Timeouts(answer=0.3, connect=10.0))
    for call, connections in ((database.read, 6), (database.read_reserved, 6 + 1), (database.write, 7 + 3)):
        outcomes = await asyncio.gather(*(call(one) for _ in range(20)), return_exceptions=True)
        assert {isinstance(outcome, StoreUnavailable) for outcome in outcomes} == {True}
        assert len(accepted) == connections
    await asyncio.gather(*(database.insert(history, ROWS) for _ in range(20)), return_exceptions=True)
    assert len(accepted) == 7 + 3 + 2
    await asyncio.gather(*(database.ping() for _ in range(20)), return_exceptions=True)
    assert len(accepted) == 12 + 1
    server.close()
    for writer in accepted:
        writer.close()
    for queue in database._queues.values():
        for task in queue.tasks:
            task.cancel()
    await database.aclose()


async def test_a_closed_database_takes_no_work(silent: PostgresDatabase) -> None:
    """Closing waits for running work, and refuses later work."""
    reading = asyncio.create_task(silent.read(one))
    await asyncio.sleep(0)
    await silent.aclose()
    assert silent.queue_lengths() == {"read": 0, "reserved": 0, "write": 0, "insert": 0, "ping": 0}
    with pytest.raises(StoreUnavailable):
        await reading
    for call in (silent.read(one), silent.write(one), silent.insert(history, ROWS), silent.ping()):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call


class Reading(PostgresDatabase):
    """A database whose reads have these outcomes in turn."""

    def __init__(self, *outcomes: Exception | None) -> None:
        super().__init__("postgresql://127.0.0.1:1/nowhere")
        self.outcomes = list(outcomes)

    async def _transact(self, _engine: object, _work: object) -> Any:
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            with postgres._mapped("127.0.0.1:1/nowhere"):
                raise outcome
        return 1


def invalidated(dead: bool) -> DBAPIError:
    """Return the error of a failed statement. ``dead`` says whether its connection was found closed."""
    return DBAPIError("SELECT", None, Exception(), connection_invalidated=dead)


async def test_a_read_on_a_dead_connection_is_made_once_more() -> None:
    """A read is repeated once if the server had closed its connection. After any other error it is not repeated."""
    assert await Reading(invalidated(True), None).read(one) == 1
    with pytest.raises(StoreUnavailable):
        await Reading(invalidated(True), invalidated(True), None).read(one)
    for error in (invalidated(False), REFUSED):
        database = Reading(error, None)
        with pytest.raises(StoreUnavailable):
            await database.read(one)
        assert database.outcomes == [None]


async def test_a_closed_port_is_unavailability() -> None:
    """Opening a database on a closed port raises StoreUnavailable."""
    with pytest.raises(StoreUnavailable):
        await open_database(f"postgresql://127.0.0.1:{free_port()}/nowhere")


@pytest.mark.parametrize(
    "error",
    [
        DBAPIError("SELECT", None, Exception()),
        PoolTimeoutError(),
        GONE,
        REFUSED,
        asyncpg.InterfaceError("closed"),
        asyncpg.InvalidParameterValueError("invalid value for a parameter of the URL"),
        ConnectionRefusedError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_error_of_a_driver_escapes(error: Exception) -> None:
    """Each error of the driver becomes StoreUnavailable, with the driver's error as its cause."""
    with pytest.raises(StoreUnavailable) as refusal, postgres._mapped("127.0.0.1:1/nowhere"):
        raise error
    assert refusal.value.__cause__ is error


@pytest.mark.parametrize("kind", [IntegrityError, DataError])
async def test_what_a_row_causes_is_for_the_store_to_name(kind: type[DBAPIError]) -> None:
    """An error that a row's values cause is raised unchanged, because the store decides what it means."""
    error = kind("INSERT", None, Exception())
    with pytest.raises(kind) as raised, postgres._mapped("127.0.0.1:1/nowhere"):
        raise error
    assert raised.value is error


async def test_a_value_that_does_not_fit_is_no_outage() -> None:
    """The server's refusal of a value, such as a text that is too long, is a DataError, because a retry can't help."""
    cause = asyncpg.StringDataRightTruncationError("value too long for type character varying(254)")
    error = DBAPIError("INSERT", None, cause)  # SQLAlchemy's dialect knows no closer class for it
    with pytest.raises(DataError), postgres._mapped("127.0.0.1:1/nowhere"):
        raise error
