"""The SQLite adapter: one thread writes, on the only writing connection, and other threads read.

SQLite versions before 3.51.3 can corrupt a WAL file when several connections checkpoint at once. Therefore only the
writing connection checkpoints, and a file lock keeps other processes out (ADR 6).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from math import inf
from pathlib import Path
from threading import Barrier
from time import monotonic
from typing import IO, TypeVar

from sqlalchemy import Connection, Table, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from pycalc.db import migrations
from pycalc.db.base import Rows
from pycalc.db.reasons import driver_error, outcome_unknown, unavailable
from pycalc.db.roles import DatabaseRole
from pycalc.db.rows import values_inserts
from pycalc.errors import RowsRejected, StoreUnavailable
from pycalc.files import usable_folder
from pycalc.urls import file_of

T = TypeVar("T")

_READERS = 4
# The most functions that run or wait in each queue. Half of the queue "write" is reserved for ``insert``, because a
# flood of other writes must not delay the recorder, whose rows every calculation waits for.
_WAITING = {"read": 256, "reserved": 16, "write": 128, "insert": 256}
_LONGEST_WAIT = 1.0  # seconds in a queue, after which the work is refused
_SETTING = "PYCALC_DATA_DIR, or PYCALC_DATABASE_URL if it is set"  # it names the folder of the database
_BUSY_MS = 250  # wait for a lock of another program, such as a shell; the file lock excludes a second pycalc


def _connect(path: Path, mode: str, *pragmas: str) -> sqlite3.Connection:
    """Open the file in autocommit mode, for reading only (``ro``) or creating it (``rwc``), and set ``pragmas``."""
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


class _ThreadQueue:
    """A bounded queue of functions, and the threads that run them. A function that has waited too long is not run."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], begin: str, threads: int, clock: Callable[[], float]
    ) -> None:
        """Create a queue with ``threads`` threads, each of which gets a connection from ``connect``.

        ``begin`` is the SQL that begins a transaction. ``clock`` must return monotonic seconds. Raises StoreUnavailable
        if the threads can't be started.
        """
        self.engine = create_engine(
            "sqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=threads,
            max_overflow=0,
            pool_use_lifo=True,  # so that reads in turn share one page cache
            pool_reset_on_return=None,
        )
        event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sqlite")
        # Start all threads now. An executor that can't start one for a function raises the error of a closed executor,
        # and later runs the function nevertheless.
        started = Barrier(threads)  # keeps each thread busy until the last one has started
        try:
            for _ in range(threads):
                self._threads.submit(started.wait)
        except RuntimeError as error:
            started.abort()
            raise StoreUnavailable(
                "The process can't start the threads of the database: raise its limit of threads (ulimit -u, or the "
                "pids limit of its container)."
            ) from error
        self._clock = clock
        self._unit_lock = asyncio.Lock()
        self.entered = 0

    async def run(
        self, work: Callable[[], T], limit: int, longest_wait: float = _LONGEST_WAIT, *, one_at_a_time: bool = False
    ) -> T:
        """Run ``work`` in a thread and return its result. Work that has begun is never cancelled.

        With ``one_at_a_time``, ``work`` is handed to the threads only after all earlier functions with this option have
        ended. So a function without the option waits for at most one function with it.

        Raises StoreUnavailable if the queue is closed, if ``limit`` functions are running or waiting, or if the work
        has waited for longer than ``longest_wait`` seconds when its turn comes.
        """
        if self.entered >= limit:
            raise StoreUnavailable("The database is overloaded; retry in 1 s.")
        latest = self._clock() + longest_wait

        def require_time() -> None:
            if self._clock() > latest:
                raise StoreUnavailable("The request waited too long for the database; retry in 1 s.")

        def in_time() -> T:
            require_time()
            return work()

        self.entered += 1  # before the work can begin
        try:
            async with AsyncExitStack() as held:
                if one_at_a_time:
                    await held.enter_async_context(self._unit_lock)
                    require_time()  # late work would wait for a thread, and the work behind it for the lock
                try:
                    future = self._threads.submit(in_time)
                except RuntimeError as error:
                    raise StoreUnavailable("The database is closed.") from error
                if one_at_a_time:  # the lock is released when the work ends, which may be later than a cancelled call
                    held.pop_all()
                    loop = asyncio.get_running_loop()
                    future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._unit_lock.release))
                return await asyncio.wrap_future(future)
        finally:
            self.entered -= 1

    def close(self) -> None:
        """Finish the running and waiting functions, stop the threads and close their connections."""
        self._threads.shutdown()
        self.engine.dispose()


def _lock(path: Path) -> IO[str]:
    """Lock the database file for this process, until the returned file is closed.

    Raises StoreUnavailable if it can't be locked, and OSError if the folder or the lock file can't be used.
    """
    with usable_folder(_SETTING, path.parent):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.fdopen(os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600), "r+")
        os.fchmod(lock.fileno(), 0o600)  # earlier releases made this file world-readable
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        if not isinstance(error, BlockingIOError):
            raise StoreUnavailable(
                f"{path}.lock can't be locked ({error.strerror}): PYCALC_DATA_DIR must be on a file system with locks."
            ) from error
        raise StoreUnavailable(
            f"{path} is in use by process {owner}: one process serves an SQLite file. "
            "Stop that one, or give this one its own PYCALC_DATA_DIR."
        ) from error
    with usable_folder(_SETTING, path.parent):  # its disk may be full
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
    return lock


class SqliteDatabase:
    """An SQLite file that only this process uses."""

    shared = False

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._lock = _lock(path)
        with ExitStack() as failed:
            failed.callback(self._lock.close)
            for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
                if file.exists() and not os.access(file, os.W_OK, effective_ids=True):  # SQLite would open it read-only
                    raise StoreUnavailable(
                        f"{file} can't be written by this process (user {os.geteuid()}): {path.name}, its -wal, its "
                        "-shm and their folder must be writable. Check owner, mode and whether the file system is "
                        "mounted read-only."
                    )
            with suppress(OSError):  # SQLite's own error for this path is more precise
                os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))  # the -wal and -shm files inherit this mode
            try:
                self._connection = _connect(
                    path,
                    "rwc",
                    "journal_mode = WAL",
                    "synchronous = FULL",
                    "wal_autocheckpoint = 4000",  # pages are rewritten often, so copy them rarely
                    "journal_size_limit = 67108864",
                )
            except sqlite3.Error as error:
                raise unavailable(str(path), error) from error
            failed.callback(self._connection.close)
            connect = partial(_connect, path, "ro", "query_only = ON")
            self._queues = {
                "read": _ThreadQueue(connect, "BEGIN", _READERS, clock),
                "reserved": _ThreadQueue(connect, "BEGIN", 1, clock),
                "write": _ThreadQueue(lambda: self._connection, "BEGIN IMMEDIATE", 1, clock),
            }
            failed.pop_all()

    @classmethod
    async def migrate(cls, url: str, roles: Sequence[DatabaseRole] = ()) -> None:
        """Migrate the file to the current schema. Raises the errors of ``migrate_database``."""
        if roles:
            raise ValueError("an SQLite file has no roles; leave PYCALC_DATABASE_API_ROLE and _CONSUMER_ROLE empty")
        await (await cls.open(url)).aclose()

    @classmethod
    async def open(cls, url: str, clock: Callable[[], float] = monotonic) -> SqliteDatabase:
        """Open or create the file in a URL, and migrate it. ``clock`` gives monotonic seconds."""
        # Other processes may reach the file by other links. All of them must find the same lock beside it.
        database = cls(file_of(url), clock)
        try:
            # No request waits for a migration, so a busy machine may delay it without limit.
            await database._transact("write", migrations.upgrade, longest_wait=inf)
        except BaseException:
            await database.aclose()
            raise
        return database

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._transact("read", work)

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        return await self._transact("reserved", work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._transact("write", work)

    async def insert(self, table: Table, rows: Rows, also: tuple[Table, Rows] | None = None) -> None:
        def work() -> None:
            # SQLAlchemy would double the time, so use the driver itself.
            statements = [*values_inserts(table, rows), *(values_inserts(*also) if also is not None else ())]
            try:
                if len(statements) == 1:
                    self._connection.execute(*statements[0])  # in autocommit mode a statement is a transaction
                    return
                with self._connection:  # commits, or rolls back after an exception
                    self._connection.execute("BEGIN IMMEDIATE")
                    for statement in statements:
                        self._connection.execute(*statement)
            except (sqlite3.IntegrityError, sqlite3.DataError, UnicodeEncodeError, OverflowError) as error:
                raise RowsRejected("The database rejects the values of these rows.") from error
            except sqlite3.Error as error:
                raise self._failure(error, committing=True) from error

        await self._queues["write"].run(work, _WAITING["insert"])

    def queue_lengths(self) -> Mapping[str, int]:
        return {name: queue.entered for name, queue in self._queues.items()}

    async def ping(self) -> None:
        await self.read(lambda connection: connection.execute(text("SELECT 1")))

    async def aclose(self) -> None:
        def close() -> None:
            for queue in self._queues.values():
                queue.close()
            self._lock.close()

        await asyncio.to_thread(close)

    async def _transact(self, name: str, work: Callable[[Connection], T], longest_wait: float = _LONGEST_WAIT) -> T:
        """Run ``work`` in a transaction, in the queue ``name``, and return its result. See ``_ThreadQueue.run``."""
        queue = self._queues[name]

        def transaction() -> T:
            committing = False
            try:
                with queue.engine.begin() as connection:
                    result = work(connection)
                    committing = True
                return result
            except (IntegrityError, DataError):
                raise
            except (DBAPIError, PoolTimeoutError, sqlite3.Error) as error:
                raise self._failure(error, committing=committing) from error

        return await queue.run(transaction, _WAITING[name], longest_wait, one_at_a_time=name == "write")

    def _failure(self, error: Exception, *, committing: bool) -> StoreUnavailable:
        """Return the error to raise for one of SQLite: OutcomeUnknown if the disk failed to sync a commit.

        The write-ahead log then has the changes already. If the process is killed before the next commit overwrites
        them, the next start finds them.
        """
        failure = unavailable(str(self._path), error)
        if committing and getattr(driver_error(error), "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_FSYNC:
            return outcome_unknown(failure.reason)
        return failure
