"""SQLite: one process per file, durable commits, and locks of other programs."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Connection

from pycalc.db import open_database
from pycalc.db.base import Database, HistoryFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.sqlite import SqliteDatabase
from pycalc.errors import OutcomeUnknown, StoreUnavailable
from tests.harness.servers import NEW_INTERPRETER, log_in, pycalc
from tests.harness.stores import history_row
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

KEYS = ("bootstrap-token", "password-key", "secret-key")
# The private files in a data folder.
PRIVATE = (*KEYS, "pycalc.db", "pycalc.db-shm", "pycalc.db-wal", "pycalc.db.lock")
_NOBODY = 65534
SECONDS = 30.0  # the deadline of a wait


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """Return the path of a database that does not exist yet, in a folder that does not exist either."""
    return tmp_path / "folder of its own" / "pycalc.db"


@pytest.fixture
async def database(file: Path) -> AsyncIterator[Database]:
    """Open an empty database in a folder that opening creates."""
    opened = await open_database(f"sqlite:///{file}")
    yield opened
    await opened.aclose()


async def test_commits_are_durable(database: Database) -> None:
    """The writer uses WAL mode with synchronous=FULL (2), so that committed rows survive a power failure."""
    pragmas = ("journal_mode", "synchronous")

    async def values() -> list[object]:
        return await database.write(
            lambda connection: [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
        )

    assert await values() == ["wal", 2]


async def test_every_probe_writes(database: Database, file: Path) -> None:
    """Each readiness probe changes the file; a probe that stored the same value again would write nothing."""
    history = SqlHistoryStore(database)
    await history.probe()
    with closing(sqlite3.connect(file)) as other:
        versions = [other.execute("PRAGMA data_version").fetchone()]
        for _ in range(3):
            await history.probe()
            versions.append(other.execute("PRAGMA data_version").fetchone())
    assert len(set(versions)) == 4


async def test_what_is_stored_is_the_owners_alone(database: Database, file: Path) -> None:
    """Other users of the machine can't read a new data folder or the files of the database."""
    await SqlHistoryStore(database).append([history_row()])
    files = (file, file.with_name("pycalc.db-wal"), file.with_name("pycalc.db-shm"))
    assert [each.stat().st_mode & 0o777 for each in files] == [0o600] * 3
    assert file.parent.stat().st_mode & 0o777 == 0o700


async def test_a_second_process_is_refused_with_a_sentence(database: Database, file: Path) -> None:
    """An open database can't be opened again until it is closed; the error names file, process and remedy."""
    with pytest.raises(StoreUnavailable, match=rf"in use by process {os.getpid()}.*PYCALC_DATA_DIR") as refusal:
        await open_database(f"sqlite:///{file}")
    assert str(file) in str(refusal.value)
    await database.ping()
    await database.aclose()
    await (await open_database(f"sqlite:///{file}")).aclose()


async def test_a_link_to_an_open_file_is_refused_too(database: Database, file: Path, tmp_path: Path) -> None:
    """A symbolic link, in another folder too, leads to the same lock as the file itself."""
    link = tmp_path / "link.db"
    link.symlink_to(file)
    with pytest.raises(StoreUnavailable, match=rf"in use by process {os.getpid()}") as refusal:
        await open_database(f"sqlite:///{link}")
    assert str(file) in str(refusal.value)
    await database.aclose()
    linked = await open_database(f"sqlite:///{link}")
    with pytest.raises(StoreUnavailable, match="in use"):
        await open_database(f"sqlite:///{file}")
    await linked.aclose()


async def test_a_lock_held_by_others_is_unavailability(database: Database, file: Path) -> None:
    """While another program holds the write lock, writes are refused after 0.25 s, but reads succeed."""
    history = SqlHistoryStore(database)
    await history.append([history_row()])
    busy = "PRAGMA busy_timeout"
    assert await database.write(lambda connection: connection.exec_driver_sql(busy).scalar()) == 250
    with closing(sqlite3.connect(file, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await history.append([history_row()])
        assert len(await history.page(HistoryFilter(), None, 10)) == 1
        shell.execute("ROLLBACK")
        await history.append([history_row()])
    assert len(await history.page(HistoryFilter(), None, 10)) == 2


def failing(code: int) -> Callable[..., None]:
    """Return a function that raises an I/O error of SQLite with this extended code."""

    def fail(*_: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        raise error

    return fail


class Unsynced:
    """A connection whose disk fails at each sync. SQLite has then written the transaction to its log already."""

    execute = staticmethod(failing(sqlite3.SQLITE_IOERR_FSYNC))


async def test_a_sync_that_fails_is_an_unknown_outcome(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk fails to sync, an append raises OutcomeUnknown, because the rows may be found after a restart."""
    database = await SqliteDatabase.open(f"sqlite:///{file}")
    with monkeypatch.context() as patched:
        patched.setattr(database, "_connection", Unsynced())
        with pytest.raises(OutcomeUnknown, match="it is not known whether the change was stored") as refusal:
            await SqlHistoryStore(database).append([history_row()])
    assert refusal.value.reason == f"{file}: OperationalError: disk I/O error"
    await database.aclose()


@pytest.mark.parametrize(
    ("code", "expected"),
    [(sqlite3.SQLITE_IOERR_FSYNC, OutcomeUnknown), (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailable)],
)
async def test_a_write_whose_sync_fails_has_an_unknown_outcome(
    file: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[StoreUnavailable]
) -> None:
    """A commit that fails to sync raises OutcomeUnknown, and any other I/O error StoreUnavailable; writes go on."""
    database = await SqliteDatabase.open(f"sqlite:///{file}")

    def commit(connection: sqlite3.Connection) -> None:
        connection.rollback()  # as SQLite itself does if it can't write or sync its log
        failing(code)()

    with monkeypatch.context() as patched:
        patched.setattr(database._queues["write"].engine.dialect, "do_commit", commit)
        with pytest.raises(StoreUnavailable) as refusal:
            await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM history"))
    assert type(refusal.value) is expected
    assert refusal.value.reason == f"{file}: OperationalError: disk I/O error"
    await SqlHistoryStore(database).append([history_row()])
    await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM outbox"))
    await database.aclose()


async def test_a_sync_that_fails_before_the_commit_is_unavailability(database: Database) -> None:
    """Nothing is stored if a sync fails before the commit begins, so StoreUnavailable is raised."""
    with pytest.raises(StoreUnavailable) as refusal:
        await database.write(failing(sqlite3.SQLITE_IOERR_FSYNC))
    assert type(refusal.value) is StoreUnavailable


async def test_reads_in_turn_share_a_connection(database: Database) -> None:
    """Four simultaneous reads use four connections; consecutive reads use one, so that its page cache is reused."""
    together = threading.Barrier(4)

    def connection_of(connection: Connection) -> int:
        return id(connection.connection.dbapi_connection)

    def at_once(connection: Connection) -> int:
        together.wait(10)
        return connection_of(connection)

    assert len(set(await asyncio.gather(*(database.read(at_once) for _ in range(4))))) == 4
    assert len({await database.read(connection_of) for _ in range(4)}) == 1


async def test_what_is_too_much_is_refused_at_once(database: Database) -> None:
    """Of 300 simultaneous writes, those above the limit of waiting writes raise StoreUnavailable."""
    outcomes = await asyncio.gather(*(database.write(lambda _: None) for _ in range(300)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert all(isinstance(outcome, StoreUnavailable) for outcome in refused)
    assert 0 < len(refused) <= 300 - 128
    await database.write(lambda _: None)


async def test_units_of_work_leave_the_recorder_its_share(database: Database) -> None:
    """Even if so many writes wait that further ones are refused, rows of the history are accepted."""
    fast = threading.Event()
    units = [asyncio.create_task(database.write(lambda _connection: fast.wait(5))) for _ in range(200)]
    await until(lambda: any(unit.done() for unit in units), "one is refused")
    recording = asyncio.create_task(SqlHistoryStore(database).append([history_row()]))
    fast.set()
    await recording
    await asyncio.gather(*units, return_exceptions=True)


async def test_the_recorder_waits_for_one_unit_of_work(database: Database) -> None:
    """Rows of the history are written right after the running unit of work, before the units that wait."""
    begun, release = threading.Event(), threading.Event()

    def rows_before(connection: Connection) -> object:
        begun.set()
        release.wait(10)
        return connection.exec_driver_sql("SELECT count(*) FROM history").scalar()

    units = [asyncio.create_task(database.write(rows_before)) for _ in range(20)]
    await until(begun.is_set, "the first has begun")
    recording = asyncio.create_task(SqlHistoryStore(database).append([history_row()]))
    await until(lambda: database.queue_lengths()["write"] == 21, "the rows are in the queue")
    release.set()
    await recording
    assert await asyncio.gather(*units) == [0, *[1] * 19]


async def test_the_recorder_waits_for_one_unit_of_work_whose_caller_is_cancelled(database: Database) -> None:
    """If the caller of the running unit of work is cancelled, rows are still written before the units that wait."""
    begun, release = threading.Event(), threading.Event()

    def block(_: object) -> None:
        begun.set()
        release.wait(10)

    running = asyncio.create_task(database.write(block))
    await until(begun.is_set, "the first unit has begun")
    counting = "SELECT count(*) FROM history"
    units = [
        asyncio.create_task(database.write(lambda connection: connection.exec_driver_sql(counting).scalar()))
        for _ in range(3)
    ]
    await until(lambda: database.queue_lengths()["write"] == 4, "the others wait")
    running.cancel()
    await asyncio.wait({running})
    await asyncio.sleep(0)  # lets another unit take its turn, if it can
    recording = asyncio.create_task(SqlHistoryStore(database).append([history_row()]))
    await until(lambda: database.queue_lengths()["write"] == 4, "the rows are in the queue")
    release.set()
    await recording
    assert await asyncio.gather(*units) == [1, 1, 1]


async def test_a_write_that_waits_too_long_is_refused_and_not_done(tmp_path: Path) -> None:
    """A write that waits for over a second behind a long write raises StoreUnavailable, and is never carried out."""
    moment = 1_000.0
    database = await SqliteDatabase.open(f"sqlite:///{tmp_path}/pycalc.db", lambda: moment)
    history = SqlHistoryStore(database)
    begun, release = threading.Event(), threading.Event()

    def last(_: object) -> bool:
        begun.set()
        return release.wait(10)

    lasting = asyncio.create_task(database.write(last))
    await until(begun.is_set, "the first has begun")
    refused = asyncio.create_task(history.append([history_row()]))
    await until(lambda: database.queue_lengths()["write"] == 2, "the second is in the queue")
    moment += 1.1
    release.set()
    assert await lasting
    with pytest.raises(StoreUnavailable):
        await refused
    assert await history.page(HistoryFilter(), None, 10) == []
    await database.aclose()


async def test_writes_that_waited_too_long_are_refused_together(tmp_path: Path) -> None:
    """Late writes are refused as soon as the write before them has ended, not one after each batch of the recorder."""
    moment = 1_000.0
    database = await SqliteDatabase.open(f"sqlite:///{tmp_path}/pycalc.db", lambda: moment)
    begun, release, stored = threading.Event(), threading.Event(), threading.Event()

    def last(_: object) -> bool:
        begun.set()
        return release.wait(10)

    lasting = asyncio.create_task(database.write(last))
    await until(begun.is_set, "the first has begun")
    late = [asyncio.create_task(database.write(lambda _: None)) for _ in range(3)]
    await asyncio.sleep(0)  # so that the others wait for the first
    moment += 1.1
    batch = asyncio.create_task(database._queues["write"].run(lambda: stored.wait(10), 256))
    await asyncio.sleep(0)
    release.set()
    assert await lasting
    await until(lambda: all(each.done() for each in late), "the late writes are refused")
    assert not batch.done()
    stored.set()
    assert await batch
    assert {type(each.exception()) for each in late} == {StoreUnavailable}
    await database.aclose()


async def test_a_busy_machine_makes_the_start_slow_and_not_fail(tmp_path: Path) -> None:
    """Migrations at the start have no time limit, unlike writes, so that a busy machine only delays the start."""
    late = count(step=60.0)
    database = await SqliteDatabase.open(f"sqlite:///{tmp_path}/pycalc.db", lambda: next(late))
    with pytest.raises(StoreUnavailable, match="waited too long"):
        await database.write(lambda _: None)
    await database.aclose()


def deny_threads(monkeypatch: pytest.MonkeyPatch, after: int = 0) -> None:
    """Let every start of a thread fail, except the first ``after`` ones, as at the limit of the process."""
    starts, start = count(), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if next(starts) >= after:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


async def test_an_open_database_needs_no_more_threads(database: Database) -> None:
    """If the process can start no more threads, an open database runs four reads at once, and further work."""
    together = threading.Barrier(4)
    with pytest.MonkeyPatch.context() as patching:
        deny_threads(patching)
        reads = (database.read(lambda _: together.wait(SECONDS)) for _ in range(4))
        assert sorted(await asyncio.gather(*reads)) == [0, 1, 2, 3]
        assert await database.read_reserved(lambda _: 1) == 1
        assert await database.write(lambda _: 1) == 1


@pytest.mark.parametrize("after", [0, 1, 5])
async def test_a_database_whose_threads_can_not_be_started_is_refused(file: Path, after: int) -> None:
    """If a thread of the database can't be started, opening says so, and the file can be opened later."""
    with pytest.MonkeyPatch.context() as patching:
        deny_threads(patching, after)
        with pytest.raises(StoreUnavailable, match="can't start the threads of the database"):
            await open_database(f"sqlite:///{file}")
    await open_and_close(file)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Opening a file that is no database raises StoreUnavailable; the file is not changed and not kept locked."""
    file = tmp_path / "pycalc.db"
    file.write_bytes(b"not a database" * 1_000)
    with pytest.raises(StoreUnavailable):
        await open_database(f"sqlite:///{file}")
    assert file.read_bytes() == b"not a database" * 1_000
    file.unlink()
    await (await open_database(f"sqlite:///{file}")).aclose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:relative.db"])
async def test_a_url_without_a_file_is_explained(url: str) -> None:
    """An SQLite URL without a file is refused with a message that shows a valid URL."""
    with pytest.raises(ValueError, match="sqlite:///PATH"):
        await open_database(url)


def test_the_files_of_a_service_are_its_owners_alone(tmp_path: Path) -> None:
    """Database, lock, WAL and key files are readable only by their owner, even if the umask is 0.

    An existing lock file that others may read becomes private too.
    """
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "pycalc.db.lock").touch(mode=0o644)
    before = os.umask(0)
    try:
        with pycalc(data=data, prefix=NEW_INTERPRETER) as server:
            log_in(server)
            modes = {file.name: oct(file.stat().st_mode & 0o777) for file in data.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(PRIVATE, "0o600")


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Run the ``with`` block as a user who owns the folder but is not root, because file modes do not restrict root."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, _NOBODY, _NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def open_and_close(file: Path) -> None:
    """Open a database, and close it again."""
    await (await open_database(f"sqlite:///{file}")).aclose()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_file_that_cannot_be_written_is_refused_with_its_name(suffix: str) -> None:
    """If a file of the database can't be written, opening the database is refused with the name of that file."""
    with TemporaryDirectory(prefix="pycalc-") as folder:
        file = Path(folder) / "pycalc.db"
        asyncio.run(open_and_close(file))
        with closing(sqlite3.connect(file)) as shell:  # These files exist while a connection to the database is open.
            shell.execute("SELECT * FROM users").fetchall()
            with unprivileged(file.parent):
                Path(f"{file}{suffix}").chmod(0o444)
                refused = rf"pycalc\.db{suffix} can't be written by this process \(user \d+\).*writable"
                with pytest.raises(StoreUnavailable, match=refused):
                    asyncio.run(open_and_close(file))
                Path(f"{file}{suffix}").chmod(0o600)
                asyncio.run(open_and_close(file))


async def test_a_file_system_without_locks_is_no_other_process(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file can't be locked, the error names the lock file and the reason, and no other process."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreUnavailable, match=r"pycalc\.db\.lock can't be locked \(No locks available\)") as refusal:
        await open_database(f"sqlite:///{file}")
    assert "process" not in str(refusal.value)
