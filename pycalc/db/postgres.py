"""The PostgreSQL adapter on asyncpg, with separate connections for each kind of work (ADR 15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, TypeVar, cast

import asyncpg
from sqlalchemy import Connection, ExceptionContext, Table, event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pycalc.db import migrations
from pycalc.db.base import Rows
from pycalc.db.postgres_migration import upgraded
from pycalc.db.postgres_url import location_of
from pycalc.db.reasons import driver_error, outcome_unknown, unavailable
from pycalc.db.roles import DatabaseRole
from pycalc.db.rows import arrays_inserts
from pycalc.errors import RowsRejected, StoreReadOnly, StoreUnavailable

T = TypeVar("T")

_INSERTERS = 2  # connections for ``insert``
_WRITERS = 3
_READERS = 6
_WAITING = 256  # the most functions in each queue, running or waiting
_READ_ONLY = "The database is read-only."
_CLOSE_SECONDS = 0.2  # for closing a broken connection, so that a host that has vanished leaves time for another try


class Timeouts(NamedTuple):
    """The time limits of the adapter, in seconds."""

    connect: float = 1.0  # for a new connection
    statement: float = 1.0  # for one statement, and for a free connection of the pool
    answer: float = 1.8  # for a caller's wait in total; the work continues afterwards
    unknown: float = 1.5  # for the repetition of an insert whose connection failed
    pause: float = 0.05  # between two tries of an insert


_TIMEOUTS = Timeouts()
_MIGRATION = Timeouts(statement=86_400.0)  # a statement may index a large table, or wait for another migration


@contextmanager
def _mapped(location: str) -> Iterator[None]:
    """Return a context that maps drivers' errors to StoreUnavailable or StoreReadOnly, unless values cause them."""
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        driver = driver_error(error)
        if isinstance(error, DBAPIError) and isinstance(driver, asyncpg.DataError):  # SQLAlchemy knows no closer class
            raise DataError(None, None, driver) from error
        if isinstance(driver, asyncpg.ReadOnlySQLTransactionError):
            raise StoreReadOnly(_READ_ONLY, 1, location) from error
        raise unavailable(location, error) from error


class _DriverConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection that is closed without waiting long for an answer of the server, which may hang."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's signature
        # With a timeout, SQLAlchemy closes a broken connection, whose statement may have to be cancelled first.
        if timeout is None:
            self.terminate()
        else:
            await super().close(timeout=min(timeout, _CLOSE_SECONDS))


def _engine(url: str, timeouts: Timeouts, connections: int = 1, **server: str) -> AsyncEngine:
    """Return an engine whose commits are durable. ``server`` has further session settings of PostgreSQL."""
    milliseconds = str(round(timeouts.statement * 1000))
    server |= {"application_name": "pycalc", "statement_timeout": milliseconds, "synchronous_commit": "on"}
    connect = partial(
        asyncpg.connect,
        url,
        connection_class=_DriverConnection,
        timeout=timeouts.connect,
        command_timeout=timeouts.statement,
        server_settings=server,
    )
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=timeouts.statement,
        pool_use_lifo=True,
    )

    @event.listens_for(engine.sync_engine, "handle_error")
    def reconnect_after_failover(context: ExceptionContext) -> None:
        error = driver_error(context.sqlalchemy_exception)
        if context.connection is not None and isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            context.is_disconnect = True  # the pool's connections lead to the former primary: replace them all
            driver: Any = context.connection.connection.driver_connection
            driver.terminate()  # without a reply, because the server may hang

    return engine


def _refused(error: BaseException | None) -> bool:
    """Return whether the server has refused a statement, so that nothing is stored.

    A server that is stopping or starting has not refused it. Nor has one that crashes (PANIC), for example because it
    can't sync its write-ahead log, because its recovery may replay the commit from the log.
    """
    driver = driver_error(error)
    stopping = isinstance(driver, (asyncpg.PostgresConnectionError, asyncpg.exceptions.OperatorInterventionError))
    # ``severity`` is in the server's language.
    return isinstance(driver, asyncpg.PostgresError) and not stopping and driver.severity_en != "PANIC"


class _ReplyLost(Exception):
    """A statement got no reply, because the connection broke or the time limit passed. It may have been executed."""


@dataclass
class _ConnectionQueue:
    """The connections for one kind of work, and the tasks that use them or wait for them."""

    engine: AsyncEngine
    writes: bool = False
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)


class PostgresDatabase:
    """A PostgreSQL database, shared with other processes."""

    shared = True

    def __init__(self, url: str, timeouts: Timeouts = _TIMEOUTS) -> None:
        self._location = location_of(url)
        self._timeouts = timeouts
        engine = partial(_engine, url, timeouts)
        self._queues = {
            "read": _ConnectionQueue(engine(_READERS, default_transaction_read_only="on")),
            "reserved": _ConnectionQueue(engine(default_transaction_read_only="on")),
            "write": _ConnectionQueue(engine(_WRITERS), writes=True),
            "insert": _ConnectionQueue(engine(_INSERTERS), writes=True),
            "ping": _ConnectionQueue(engine()),
        }
        self._closed = False

    @classmethod
    async def open(cls, url: str) -> PostgresDatabase:
        """Open the database at a URL. Raises the errors of ``open_database``."""
        database = cls(url)
        try:
            migrations.require_current(await database.read(migrations.current))
            await database.ping()
        except BaseException:
            await database.aclose()
            raise
        return database

    @classmethod
    async def migrate(
        cls,
        url: str,
        roles: Sequence[DatabaseRole] = (),
        *,
        lock_seconds: float = 0.5,
        tries: int = 5,
        pause_seconds: float = 2.0,
    ) -> None:
        """Migrate to the current schema and grant the roles' rights. Only one process at a time does this.

        A schema change waits for the transactions on its table, and new inserts wait for the schema change. To keep
        their wait short, a try waits for a lock for ``lock_seconds`` only. Raises the errors of ``migrate_database``.
        """
        if len({role.name for role in roles}) < len(roles):  # the second grant would revoke the first one's rights
            raise ValueError("PYCALC_DATABASE_API_ROLE and PYCALC_DATABASE_CONSUMER_ROLE must be two different roles")
        engine = _engine(url, _MIGRATION)
        try:
            with _mapped(location_of(url)):
                for attempt in range(tries):
                    await asyncio.sleep(pause_seconds if attempt else 0)
                    if await upgraded(engine, roles, lock_seconds):
                        return
        finally:
            await engine.dispose()
        raise StoreUnavailable(
            "The tables can't be changed while other transactions use them: wait for these to end, or find them in "
            "pg_locks and end them with pg_terminate_backend, and run `pycalc migrate` again."
        )

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._run("read", self._ask("read", work))

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        return await self._run("reserved", self._ask("reserved", work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._run("write", self._transact("write", work))

    async def insert(self, table: Table, rows: Rows, also: tuple[Table, Rows] | None = None) -> None:
        await self._run("insert", self._insert(table, rows, also))

    def queue_lengths(self) -> Mapping[str, int]:
        return {name: len(queue.tasks) for name, queue in self._queues.items()}

    async def ping(self) -> None:
        # A standby is in recovery; elsewhere a setting can make transactions read-only.
        modes = text("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')")
        asking = self._ask("ping", lambda connection: connection.execute(modes).one())
        if await self._run("ping", asking) != (False, "off"):
            await self._queues["ping"].engine.dispose()  # so that the next ping connects anew, to the primary
            raise StoreReadOnly(_READ_ONLY)

    async def aclose(self) -> None:
        self._closed = True
        if unfinished := [task for queue in self._queues.values() for task in queue.tasks]:
            await asyncio.wait(unfinished)
        for queue in self._queues.values():
            await queue.engine.dispose()

    async def _run(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the queue ``name`` and return its result.

        Without a result after ``Timeouts.answer``, raises OutcomeUnknown for work that writes, else StoreUnavailable.
        The work continues after this, and after a cancellation of the caller.
        """
        queue = self._queues[name]
        if self._closed or len(queue.tasks) >= _WAITING:
            work.close()
            reason = "The database is closed." if self._closed else "The database is overloaded; retry in 1 s."
            raise StoreUnavailable(reason)
        task = asyncio.ensure_future(work)
        queue.tasks.add(task)
        task.add_done_callback(queue.tasks.discard)
        # Retrieve the exception, which asyncio would otherwise log if the caller has left.
        task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        try:
            async with asyncio.timeout(self._timeouts.answer):
                return await asyncio.shield(task)
        except TimeoutError as error:
            if queue.writes:
                raise outcome_unknown() from error
            raise StoreUnavailable("The database does not answer in time.", 1, self._location) from error

    async def _transact(self, name: str, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction. Raises OutcomeUnknown if it writes and its commit gets no reply."""
        queue, committing = self._queues[name], False
        try:
            with _mapped(self._location):
                async with queue.engine.begin() as connection:
                    result = await connection.run_sync(work)
                    committing = queue.writes
                return result
        except StoreUnavailable as error:
            if committing and not _refused(error.__cause__):
                raise outcome_unknown() from error
            raise

    async def _ask(self, name: str, work: Callable[[Connection], T]) -> T:
        """Run ``work``, which must only read. If the connection is broken, run it once more, on a new connection."""
        try:
            return await self._transact(name, work)
        except StoreUnavailable as error:
            if not (isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated):
                raise
            return await self._transact(name, work)

    async def _insert(self, table: Table, rows: Rows, also: tuple[Table, Rows] | None) -> None:
        """Insert rows by one statement. Raises OutcomeUnknown if they may be stored, and other errors if they are not.

        If a connection fails, repeat the statement for up to ``Timeouts.unknown`` seconds. Skip rows that exist then,
        because a statement without a reply may have stored them.
        """
        second, columns = None, list(zip(*rows, strict=True))
        if also is not None:
            second = also[0]
            columns += zip(*also[1], strict=True)
        deadline, seconds = monotonic() + self._timeouts.unknown, self._timeouts.statement
        lost = False
        while True:
            try:
                with _mapped(self._location):
                    return await self._execute(arrays_inserts(table, second, repeated=lost), columns, seconds)
            except (IntegrityError, DataError) as error:
                raise RowsRejected("The database rejects the values of these rows.") from error
            except _ReplyLost:
                lost = True
            except StoreUnavailable as error:
                if not lost and (_refused(error.__cause__) or monotonic() > deadline):
                    raise
            if lost and monotonic() > deadline:
                raise outcome_unknown()
            await asyncio.sleep(self._timeouts.pause)
            seconds = max(self._timeouts.pause, deadline - monotonic())

    async def _execute(self, statement: str, columns: Sequence[Sequence[object]], seconds: float) -> None:
        """Run an INSERT through the driver, in a transaction of its own. Its parameters are ``columns``.

        Raises _ReplyLost if the connection breaks, the server crashes or no reply arrives within ``seconds``.
        """
        async with self._queues["insert"].engine.connect() as connection:
            driver = cast("asyncpg.Connection", (await connection.get_raw_connection()).driver_connection)
            try:
                await driver.execute(statement, *columns, timeout=seconds)
            except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
                raise IntegrityError(statement, None, error) from error
            except asyncpg.ReadOnlySQLTransactionError:
                driver.terminate()  # without a reply, because a former primary may hang
                await connection.invalidate()
                raise
            except (asyncpg.PostgresError, OSError, asyncpg.InterfaceError) as error:
                if _refused(error):
                    raise
                await connection.invalidate()
                raise _ReplyLost from error
