"""PostgreSQL through asyncpg: pools of connections of their own for writing and reading (ADR 15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from time import monotonic
from typing import Any, TypeVar, cast

import asyncpg
from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pycalc.db import migrations
from pycalc.db.postgres_url import place_of
from pycalc.db.reasons import driver_error, unavailable
from pycalc.db.rows import arrays_insert
from pycalc.errors import Conflict, OutcomeUnknown, StoreReadOnly, StoreUnavailable

T = TypeVar("T")

_INSERTERS = 2
_WRITERS = 3
_READERS = 6
_RESERVED = 1
_PINGERS = 1
_WAITING = 256
_CONNECT_SECONDS = 1.0
_STATEMENT_SECONDS = 1.0
_UNKNOWN_SECONDS = 1.5
"""How long an insert is tried again whose outcome is not known."""
_ANSWER_SECONDS = 1.8
"""How long a caller waits, for a connection and everything; work that has begun runs to its end all the same."""
_PAUSE_SECONDS = 0.05
_GONE = (asyncpg.PostgresConnectionError, asyncpg.exceptions.OperatorInterventionError)
"""What a server says that shuts down or starts, or whose connection broke."""
_NOT_KNOWN = "The database does not answer in time: it is not known whether this was stored."
_READ_ONLY = "The database is read-only."
_RECONNECT_SECONDS = 1.0
"""How often, at most, refused writes replace the connections: each refusal doing so would be a storm of new ones."""
_FAREWELL_SECONDS = 0.5
_MIGRATION_LOCK = 0x7079_6361_6C63
"""The advisory lock under which one process migrates while others wait."""
_LOCK_SECONDS = 0.5
"""How long a migration waits for a table; inserts wait behind it meanwhile, and a statement has 1 s."""
_LOCK_TRIES = 5
_LOCK_PAUSE_SECONDS = 2.0
_LOCK_HOLDERS = text(
    "SELECT DISTINCT activity.pid, coalesce(nullif(application_name, ''), backend_type, 'unknown') AS program, "
    "floor(extract(epoch FROM clock_timestamp() - xact_start))::bigint AS seconds "
    "FROM pg_locks JOIN pg_class ON pg_class.oid = relation JOIN pg_stat_activity AS activity USING (pid) "
    "WHERE granted AND datname = current_database() AND relkind = 'r' "
    "AND relnamespace = current_schema()::regnamespace ORDER BY seconds DESC NULLS LAST LIMIT 3"
)
"""The oldest transactions that have used one of the tables and not ended yet."""


@contextmanager
def _mapped(place: str) -> Iterator[None]:
    """Turn the drivers' errors into the domain's; what a row's own values cause stays for the store to name."""
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        if isinstance(driver_error(error), asyncpg.ReadOnlySQLTransactionError):
            raise StoreReadOnly(_READ_ONLY, 1, place) from error
        raise unavailable(place, error) from error


async def _connect(url: str, seconds: float | None, **server: str) -> asyncpg.Connection:
    """Open a connection whose commits are durable, whatever the server's default."""
    milliseconds = "0" if seconds is None else str(round(seconds * 1000))
    connection = await asyncpg.connect(
        url,
        timeout=_CONNECT_SECONDS,
        command_timeout=seconds,
        server_settings={"application_name": "pycalc", "statement_timeout": milliseconds, **server},
    )
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    return connection


def _engine(url: str, connections: int, seconds: float | None, **server: str) -> AsyncEngine:
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=partial(_connect, url, seconds, **server),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_STATEMENT_SECONDS,
        pool_use_lifo=True,
    )


def _require_writable(connection: Connection) -> None:
    """Raise StoreReadOnly where a transaction could not write: on a standby, or by a setting of the server."""
    modes = connection.execute(text("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')"))
    if modes.one() != (False, "off"):
        raise StoreReadOnly(_READ_ONLY)


async def _upgraded(engine: AsyncEngine, lock_seconds: float) -> bool:
    """Bring the tables up to date in one transaction; return False when another transaction held one for too long."""
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            timeout = {"timeout": f"{round(lock_seconds * 1000)}ms"}  # from here on: other migrations may take longer
            await connection.execute(text("SELECT set_config('lock_timeout', :timeout, true)"), timeout)
            await connection.run_sync(migrations.upgrade)
    except DBAPIError as error:
        if isinstance(driver_error(error), asyncpg.LockNotAvailableError):
            return False
        raise
    return True


async def _tables_in_use(engine: AsyncEngine, place: str) -> StoreUnavailable:
    """Return the error of a migration that got no lock; its reason names the transactions that hold the tables."""
    async with engine.begin() as connection:
        rows = (await connection.execute(_LOCK_HOLDERS)).all()
    holders = [
        f"process {row.pid} ({row.program})" + ("" if row.seconds is None else f" for {row.seconds} s") for row in rows
    ]
    return StoreUnavailable(
        "The tables can't be changed while other transactions use them: wait for these to end, or end them with "
        "pg_terminate_backend, and run `pycalc migrate` again.",
        1,
        f"{place}: {', '.join(holders) or 'they have just ended'}",
    )


class _Lost(Exception):
    """A statement was sent, and there is no answer."""


class PostgresDatabase:
    """A PostgreSQL database, shared with other processes."""

    shared = True

    def __init__(self, url: str, reconnect_seconds: float = _RECONNECT_SECONDS) -> None:
        self._place = place_of(url)
        self._inserter = _engine(url, _INSERTERS, _STATEMENT_SECONDS)
        self._writer = _engine(url, _WRITERS, _STATEMENT_SECONDS)
        self._reader = _engine(url, _READERS, _STATEMENT_SECONDS, default_transaction_read_only="on")
        self._reserved = _engine(url, _RESERVED, _STATEMENT_SECONDS, default_transaction_read_only="on")
        self._pinger = _engine(url, _PINGERS, _STATEMENT_SECONDS)
        self._reconnect_seconds = reconnect_seconds
        self._reconnected = -inf
        self._refused = False
        self._reading: set[asyncio.Task[Any]] = set()
        self._reading_reserved: set[asyncio.Task[Any]] = set()
        self._writing: set[asyncio.Task[Any]] = set()
        self._inserting: set[asyncio.Task[Any]] = set()
        self._pinging: set[asyncio.Task[Any]] = set()
        self._closed = False

    @classmethod
    async def open(cls, url: str) -> PostgresDatabase:
        """Open the database that a URL names; raises StoreUnavailable when it is not there or not migrated."""
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
        *,
        lock_seconds: float = _LOCK_SECONDS,
        tries: int = _LOCK_TRIES,
        pause_seconds: float = _LOCK_PAUSE_SECONDS,
    ) -> None:
        """Bring the tables up to date, one process at a time; raises StoreUnavailable.

        A change of a table waits for every transaction that uses it, and all inserts wait behind the change. So it
        gives up soon and tries again later, ``tries`` times in all.
        """
        place, engine = place_of(url), _engine(url, 1, None)
        try:
            with _mapped(place):
                for attempt in range(tries):
                    await asyncio.sleep(pause_seconds if attempt else 0)
                    if await _upgraded(engine, lock_seconds):
                        return
                raise await _tables_in_use(engine, place)
        finally:
            await engine.dispose()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._run(self._reading, self._ask(self._reader, work), self._late())

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._run(self._reading_reserved, self._ask(self._reserved, work), self._late())

    async def write(self, work: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._run(self._writing, self._transact(self._writer, work), OutcomeUnknown(_NOT_KNOWN))

    async def insert(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """See Database."""
        await self._run(self._inserting, self._insert(table, rows), OutcomeUnknown(_NOT_KNOWN))

    def under_way(self) -> Mapping[str, int]:
        """See Database."""
        return {
            "read": len(self._reading),
            "reserved": len(self._reading_reserved),
            "write": len(self._writing),
            "insert": len(self._inserting),
            "ping": len(self._pinging),
        }

    async def ping(self) -> None:
        """See Database."""
        await self._run(self._pinging, self._prove_writable(), self._late())

    async def aclose(self) -> None:
        """See Database."""
        self._closed = True
        under_way = self._reading | self._reading_reserved | self._writing | self._inserting | self._pinging
        if under_way:
            await asyncio.wait(under_way)
        with suppress(TimeoutError):  # a server that hangs takes no farewell
            async with asyncio.timeout(_FAREWELL_SECONDS):
                engines = (self._reader, self._reserved, self._writer, self._inserter, self._pinger)
                await asyncio.gather(*(engine.dispose() for engine in engines))

    def _late(self) -> StoreUnavailable:
        return StoreUnavailable("The database does not answer in time.", 1, self._place)

    async def _run(self, lane: set[asyncio.Task[Any]], work: Coroutine[Any, Any, T], late: StoreUnavailable) -> T:
        """Return what the work returns, or raise ``late``; once begun it runs to its end, cancelled or late or not.

        Each kind of work has a lane and connections of its own, so that nothing keeps calculations from being recorded.
        """
        if self._closed or len(lane) >= _WAITING:
            work.close()
            raise StoreUnavailable("The database is closed." if self._closed else "The database has too much to do.")
        task = asyncio.ensure_future(work)
        lane.add(task)
        task.add_done_callback(lane.discard)
        task.add_done_callback(_heard)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError as error:
            raise late from error

    async def _transact(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        try:
            with _mapped(self._place):
                async with engine.begin() as connection:
                    return await connection.run_sync(work)
        except StoreReadOnly:
            await self._reconnect()
            raise

    async def _ask(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        """Read; once more when the connection turns out to be dead, which tells SQLAlchemy to drop the others too."""
        try:
            return await self._transact(engine, work)
        except StoreUnavailable as error:
            if not (isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated):
                raise
            return await self._transact(engine, work)

    async def _prove_writable(self) -> None:
        """Raise StoreReadOnly unless a write is possible; replace the writing connections when it is possible again."""
        try:
            await self._ask(self._pinger, _require_writable)
        except StoreReadOnly:
            await self._pinger.dispose()  # the next ping shall reach the server that is the primary then
            raise
        if self._refused:
            await self._reconnect(at_once=True)

    async def _reconnect(self, *, at_once: bool = False) -> None:
        """Write by new connections from here on: after a failover the old ones lead to what was the primary.

        Many writes are refused at the same time, so this is done at most once a second, unless ``at_once``.
        """
        self._refused = not at_once
        now = monotonic()
        if not at_once and now - self._reconnected < self._reconnect_seconds:
            return
        self._reconnected = now
        await self._writer.dispose()
        await self._inserter.dispose()

    async def _insert(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert the rows; when the connection is lost on the way, make sure of it on another.

        Whether the lost statement was committed can't be known, so the next try skips rows that are there: they are
        all there or none is.
        """
        statement, columns = arrays_insert(table), list(zip(*rows, strict=True))
        deadline = monotonic() + _UNKNOWN_SECONDS
        lost, seconds = False, _STATEMENT_SECONDS
        failure: StoreUnavailable | None = None
        while True:
            try:
                with _mapped(self._place):
                    return await self._execute(statement, columns, seconds)
            except (IntegrityError, DataError) as error:
                raise Conflict("The rows can't be stored.") from error
            except _Lost:
                lost = True
                statement = f"{arrays_insert(table)} ON CONFLICT DO NOTHING"
            except StoreReadOnly as error:
                failure = error
                await self._reconnect()
                if not lost:
                    raise
            except StoreUnavailable as error:
                failure = error
                if _is_final(error) and not lost:
                    raise
            if monotonic() > deadline:
                raise OutcomeUnknown(_NOT_KNOWN) if lost or failure is None else failure
            await asyncio.sleep(_PAUSE_SECONDS)
            seconds = max(_PAUSE_SECONDS, deadline - monotonic())

    async def _execute(self, statement: str, columns: Sequence[Sequence[object]], seconds: float) -> None:
        """Run a statement past SQLAlchemy, in a transaction of its own; raises _Lost when there is no answer to it."""
        async with self._inserter.connect() as connection:
            driver = cast("asyncpg.Connection", (await connection.get_raw_connection()).driver_connection)
            try:
                await driver.execute(statement, *columns, timeout=seconds)
            except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
                raise IntegrityError(statement, None, error) from error
            except (*_GONE, OSError, asyncpg.InterfaceError) as error:
                await connection.invalidate()
                raise _Lost from error


def _heard(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended: its caller may have left."""
    if not task.cancelled():
        task.exception()


def _is_final(error: StoreUnavailable) -> bool:
    """Return whether the server has said no, rather than that it is about to go or to come."""
    return isinstance(error.__cause__, asyncpg.PostgresError) and not isinstance(error.__cause__, _GONE)
