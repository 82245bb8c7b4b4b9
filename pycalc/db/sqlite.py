"""SQLite: one connection in one thread does all writes and checkpoints, readers are read-only (ADR 6)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain
from math import inf
from pathlib import Path
from time import monotonic
from typing import IO, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from pycalc.db import migrations
from pycalc.db.base import ROWS_AT_ONCE
from pycalc.db.reasons import unavailable
from pycalc.db.rows import values_insert
from pycalc.errors import Conflict, StoreUnavailable

T = TypeVar("T")

_READERS = 4
_WAITING_READS = 256
_WAITING_RESERVED = 16
_WAITING_WRITES = 256
_WAITING_UNITS = _WAITING_WRITES // 2
"""How many writes may wait for a unit of work to join them: the rest of the lane is the recorder's alone."""
_LONGEST_WAIT = 1.0
"""Seconds in a lane's queue after which work is refused instead of begun: nobody waits for it any more."""
_BUSY_MS = 250
"""How long a write waits for another process's lock; the file lock makes that somebody's shell, not a second pycalc."""


class _Lane:
    """A bounded pool of threads: what is over ``limit`` is refused, not queued, and so is what has waited too long."""

    def __init__(self, name: str, threads: int, limit: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit = limit
        self.entered = 0

    async def run(self, work: Callable[[], T], limit: int | None = None, longest_wait: float = _LONGEST_WAIT) -> T:
        """Return what ``work`` returns in one of the threads; once begun it runs to its end, cancelled or not.

        Raises StoreUnavailable when the lane has its limit of work, or ``limit``, and when the work has not begun
        after ``longest_wait`` seconds.
        """
        if self.entered >= (self._limit if limit is None else limit):
            raise StoreUnavailable("The database has too much to do.")
        latest = self._clock() + longest_wait

        def in_time() -> T:
            if self._clock() > latest:
                raise StoreUnavailable("The database does not get to it in time.")
            return work()

        self.entered += 1
        try:
            return await asyncio.wrap_future(self._submitted(in_time))
        finally:
            self.entered -= 1

    def _submitted(self, work: Callable[[], T]) -> Future[T]:
        try:
            return self._threads.submit(work)
        except RuntimeError as error:
            raise StoreUnavailable("The database is closed.") from error

    def close(self) -> None:
        """Finish what was begun."""
        self._threads.shutdown()


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    """Turn the driver's errors into the domain's; what a row's own values cause stays for the store to name."""
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except (DBAPIError, PoolTimeoutError, sqlite3.Error) as error:
        raise unavailable(str(path), error) from error


def _connect(path: Path, mode: str, *pragmas: str) -> sqlite3.Connection:
    """Open the file in autocommit mode: transactions are begun explicitly."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=_BUSY_MS / 1000,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        for pragma in ("cache_size = -16384", *pragmas):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _open_writer(path: Path) -> sqlite3.Connection:
    with suppress(OSError):  # then SQLite says what is wrong
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))  # its other files take this one's mode
    return _connect(
        path,
        "rwc",
        "journal_mode = WAL",
        "synchronous = FULL",
        "wal_autocheckpoint = 4000",  # the same pages are rewritten often: copy them seldom
        "journal_size_limit = 67108864",
    )


def _engine(connect: Callable[[], sqlite3.Connection], connections: int, begin: str) -> Engine:
    """Return an engine of so many connections whose transactions begin with that statement."""
    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_reset_on_return=None,
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _lock(path: Path) -> IO[str]:
    """Take the file's lock for this process and keep it while the returned file is open."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.fdopen(os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600), "r+")
    os.fchmod(lock.fileno(), 0o600)  # earlier releases made it readable to all
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise StoreUnavailable(
            f"{path} is in use by process {owner}: one process serves an SQLite file. "
            "Stop that one, or give this one its own PYCALC_DATA_DIR."
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _insertion(table: Table, rows: Sequence[tuple[object, ...]]) -> tuple[str, tuple[object, ...]]:
    return values_insert(table, len(rows)), tuple(chain.from_iterable(rows))


def _require_writable(path: Path) -> None:
    """Raise StoreUnavailable for a file that this process may not write: SQLite would open it to read."""
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        if file.exists() and not os.access(file, os.W_OK, effective_ids=True):
            raise StoreUnavailable(
                f"{file} can't be written by this process (user {os.geteuid()}): {path.name}, its -wal, its -shm and "
                "their folder must be writable. Check owner, mode and whether the file system is mounted read-only."
            )


class SqliteDatabase:
    """An SQLite file, served by this process alone."""

    shared = False

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` tells seconds, from whenever."""
        self._path = path
        self._lock = _lock(path)
        try:
            _require_writable(path)
            with _mapped(path):
                self._connection = _open_writer(path)
        except StoreUnavailable:
            self._lock.close()
            raise
        self._writer = _engine(lambda: self._connection, 1, "BEGIN IMMEDIATE")
        self._reader = _engine(lambda: _connect(path, "ro", "query_only = ON"), _READERS, "BEGIN")
        self._reserved = _engine(lambda: _connect(path, "ro", "query_only = ON"), 1, "BEGIN")
        self._writing = _Lane("sqlite-write", 1, _WAITING_WRITES, clock)
        self._reading = _Lane("sqlite-read", _READERS, _WAITING_READS, clock)
        self._reading_reserved = _Lane("sqlite-reserved", 1, _WAITING_RESERVED, clock)

    @classmethod
    async def migrate(cls, url: str) -> None:
        """Bring the tables up to date, which opening does; raises StoreUnavailable."""
        await (await cls.open(url)).aclose()

    @classmethod
    async def open(cls, url: str, clock: Callable[[], float] = monotonic) -> SqliteDatabase:
        """Open the file that a URL ``sqlite:///PATH`` names, and bring its tables up to date.

        Raises StoreUnavailable when another process serves it or it can't be opened.
        """
        path = url.removeprefix("sqlite:///")
        if not path or path == url:
            raise ValueError(f"not of the form sqlite:///PATH: {url}")
        if "?" in path or "#" in path:
            raise ValueError(f"not of the form sqlite:///PATH, without options and without ? and # in it: {url}")
        database = cls(Path(path), clock)
        try:
            # No request waits for it: a busy machine makes the start slow and does not make it fail.
            await database._writing.run(lambda: database._transact(database._writer, migrations.upgrade), None, inf)
        except BaseException:
            await database.aclose()
            raise
        return database

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._reading.run(lambda: self._transact(self._reader, work))

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._reading_reserved.run(lambda: self._transact(self._reserved, work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._writing.run(lambda: self._transact(self._writer, work), _WAITING_UNITS)

    async def insert(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """See Database."""
        await self._writing.run(lambda: self._insert(table, rows))

    def under_way(self) -> Mapping[str, int]:
        """See Database."""
        return {
            "read": self._reading.entered,
            "reserved": self._reading_reserved.entered,
            "write": self._writing.entered,
        }

    async def ping(self) -> None:
        """See Database."""
        await self.read(lambda connection: connection.execute(text("SELECT 1")))

    async def aclose(self) -> None:
        """See Database."""
        await asyncio.to_thread(self._close)

    def _insert(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert past SQLAlchemy, whose bookkeeping would cost as much as the rows."""
        try:
            if len(rows) <= ROWS_AT_ONCE:
                self._connection.execute(*_insertion(table, rows))
            else:
                self._insert_many(table, rows)
        except (sqlite3.IntegrityError, sqlite3.DataError) as error:
            raise Conflict("The rows can't be stored.") from error
        except sqlite3.Error as error:
            raise unavailable(str(self._path), error) from error

    def _insert_many(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for start in range(0, len(rows), ROWS_AT_ONCE):
                self._connection.execute(*_insertion(table, rows[start : start + ROWS_AT_ONCE]))
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        self._reading.close()
        self._reading_reserved.close()
        self._writing.close()
        self._reader.dispose()
        self._reserved.dispose()
        self._writer.dispose()
        self._lock.close()

    def _transact(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        with _mapped(self._path), engine.begin() as connection:
            return work(connection)
