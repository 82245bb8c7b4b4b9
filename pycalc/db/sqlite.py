"""SQLite: one connection in one thread does all writes and checkpoints, readers are read-only (ADR 6)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from pycalc.db import migrations
from pycalc.errors import StoreUnavailable

T = TypeVar("T")

_READERS = 4
_WAITING_READS = 256
_WAITING_WRITES = 256
_BUSY_MS = 1_000
"""How long a write waits for another process's lock; the file lock makes that somebody's shell, not a second pycalc."""


class _Lane:
    """A bounded pool of threads: what is over ``limit`` is refused, not queued."""

    def __init__(self, name: str, threads: int, limit: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit = limit
        self._entered = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns in one of the threads; once begun it runs to its end, cancelled or not."""
        if self._entered >= self._limit:
            raise StoreUnavailable("The database has too much to do.")
        self._entered += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._entered -= 1

    def close(self) -> None:
        """Finish what was begun."""
        self._threads.shutdown()


@contextmanager
def _mapped() -> Iterator[None]:
    """Turn the driver's errors into the domain's; what a row's own values cause stays for the store to name."""
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except (DBAPIError, PoolTimeoutError, sqlite3.Error) as error:
        raise StoreUnavailable("The database is not available.") from error


def _engine(path: Path, *, writer: bool) -> Engine:
    """Return an engine whose connections are set up for their role; transactions begin with the write lock taken."""
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'rwc' if writer else 'ro'}",
            uri=True,
            isolation_level=None,
            timeout=_BUSY_MS / 1000,
            check_same_thread=False,
            cached_statements=256,
        ),
        poolclass=QueuePool,
        pool_size=1 if writer else _READERS,
        max_overflow=0,
    )

    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        if writer:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA journal_size_limit = 67108864")
        else:
            cursor.execute("PRAGMA query_only = ON")
        cursor.execute("PRAGMA cache_size = -16384")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _lock(path: Path) -> IO[str]:
    """Take the file's lock for this process and keep it while the returned file is open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock").open("a+")
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


class SqliteDatabase:
    """An SQLite file, served by this process alone."""

    def __init__(self, path: Path) -> None:
        self._lock = _lock(path)
        self._writer = _engine(path, writer=True)
        self._reader = _engine(path, writer=False)
        self._writing = _Lane("sqlite-write", 1, _WAITING_WRITES)
        self._reading = _Lane("sqlite-read", _READERS, _WAITING_READS)

    @classmethod
    async def open(cls, url: str) -> SqliteDatabase:
        """Open the file that a URL ``sqlite:///PATH`` names, and bring its tables up to date.

        Raises StoreUnavailable when another process serves it or it can't be opened.
        """
        path = url.removeprefix("sqlite:///")
        if not path or path == url:
            raise ValueError(f"not of the form sqlite:///PATH: {url}")
        database = cls(Path(path))
        try:
            await database.write(migrations.upgrade)
        except BaseException:
            await database.aclose()
            raise
        return database

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._reading.run(lambda: self._transact(self._reader, work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """See Database."""
        return await self._writing.run(lambda: self._transact(self._writer, work))

    async def ping(self) -> None:
        """See Database."""
        await self.read(lambda connection: connection.execute(text("SELECT 1")))

    async def aclose(self) -> None:
        """See Database."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reading.close()
        self._writing.close()
        self._reader.dispose()
        self._writer.dispose()
        self._lock.close()

    @staticmethod
    def _transact(engine: Engine, work: Callable[[Connection], T]) -> T:
        with _mapped(), engine.begin() as connection:
            return work(connection)
