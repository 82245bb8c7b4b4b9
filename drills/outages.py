"""A drill in which the database fails under load: writes are refused promptly, reads continue, and recovery is quick.

Each kind of outage is a context manager that breaks the database during its ``with`` block.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from drills.support.connection import Connection, Unanswered, request
from drills.support.finding import Finding, faults
from drills.support.history import compare, in_sqlite, outbox_in_sqlite
from drills.support.load import Ledger, Load, ask_once
from drills.support.subscriber import Subscriber
from tests.harness.servers import Server, log_in, pycalc
from tests.harness.waiting import until

_CONNECTIONS = 48
_FEWEST_ANSWERS = 100
_IN_TIME = 2.0
_RECOVERED = 1.0
_READ_EVERY = 0.05

_STRACE = ("strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=100s")

# A function of a server and its data folder; it returns a context manager that breaks the server's database.
Fault = Callable[[Server, Path], AbstractContextManager[None]]


@dataclass(slots=True)
class Readings:
    """The statuses and the longest latency of the read requests that one client sends all the time."""

    slowest: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)

    async def keep_reading(self, port: int, token: str) -> None:
        """Send read requests until cancelled; reconnect when the server closes the connection."""
        headers = {"Authorization": f"Bearer {token}"}
        while True:
            connection = await Connection.open(port)
            try:
                while connection.usable:
                    for path in ("/healthz", "/secure-history?limit=5", "/me"):
                        answer = await connection.ask(request(path, headers))
                        self.slowest = max(self.slowest, answer.seconds)
                        self.statuses[f"{path} {answer.status}"] += 1
                    await asyncio.sleep(_READ_EVERY)
            except Unanswered:
                self.statuses["unanswered"] += 1
            finally:
                connection.close()

    @property
    def failed(self) -> str:
        """Return the number of failed read requests by path and status, as a text; "" if none failed."""
        return ", ".join(f"{times} x {what}" for what, times in self.statuses.items() if not what.endswith(" 200"))


@dataclass(slots=True)
class Outage:
    """The observations of one outage; ``began`` and ``ended`` are times of the clock ``monotonic``."""

    began: float = 0.0
    ended: float = 0.0
    # True when /readyz reported the outage.
    not_ready: bool = False
    # Seconds from the outage's end to the first event that arrived after it.
    events_after: float = 0.0


async def _observed(
    server: Server, token: str, data: Path, fault: Fault, seconds: float
) -> tuple[Ledger, Readings, Outage]:
    """Keep a server under load before, during and after an outage; return the observations."""
    ledger, readings, outage = Ledger(), Readings(), Outage()
    # Without requests for worker processes, the answers' times depend on the database, not on computations.
    load = Load(ledger, token, patient=True, workers=False)
    (first,) = (await ask_once(ledger, server.port, token)).ids
    subscriber = Subscriber(server.port, token, first)
    reading = asyncio.create_task(readings.keep_reading(server.port, token))
    async with subscriber.subscribed(), load.on(server.port, _CONNECTIONS):
        await ledger.more_answers(_FEWEST_ANSWERS)
        with fault(server, data):
            outage.began = monotonic()
            await asyncio.sleep(seconds)
            outage.not_ready = await _status(server.port, "/readyz") == 503
        outage.ended = monotonic()
        received = len(subscriber.received)
        await until(lambda: len(subscriber.received) > received, "events arrive again", 60)
        outage.events_after = monotonic() - outage.ended
        await asyncio.sleep(max(0.0, outage.ended + 2 * _RECOVERED - monotonic()))
    reading.cancel()
    await asyncio.wait({reading})
    return ledger, readings, outage


async def _status(port: int, path: str) -> int:
    connection = await Connection.open(port)
    answer = await connection.ask(request(path, {}))
    connection.close()
    return answer.status


def _outage(drill: str, shown: str, fault: Fault, seconds: float, folder: Path) -> Finding:
    """Run a service that keeps its data in ``folder``, cause the outage ``fault``, and return the finding.

    In the finding, ``drill`` is the drill's name, and ``shown`` describes the outage.
    """
    with pycalc(data=folder, min_free_disk="0") as server:  # one of the outages is a full disk
        ledger, readings, outage = asyncio.run(_observed(server, log_in(server), folder, fault, seconds))
    hit = [each for each in ledger.exchanges if each.sent + each.seconds >= outage.began and each.sent < outage.ended]
    refused = [each for each in hit if each.status == 503]
    back = min(each.sent + each.seconds for each in ledger.since(outage.ended) if each.status == 200)
    late = [each for each in ledger.since(outage.ended + _RECOVERED) if each.status != 200]
    slowest = max(each.seconds for each in hit)
    return Finding(
        drill,
        f"{shown} for {seconds:g} s under load",
        {
            "refused": len(refused),
            "slowest answer s": slowest,
            "not known": sum(each.unknown for each in refused),
            "slowest reading s": readings.slowest,
            "recovered after s": back - outage.ended,
            "events after s": outage.events_after,
        },
        faults(
            **compare(ledger, in_sqlite(folder / "pycalc.db"))._asdict(),
            outbox=outbox_in_sqlite(folder / "pycalc.db"),
            nothing_refused=not refused,
            without_retry_after=sum(each.retry_after is None for each in refused),
            other_statuses=str(Counter(each.status for each in hit if each.status not in (200, 503)) or ""),
            too_slow=slowest > _IN_TIME,
            failed_readings=readings.failed,
            readyz_did_not_report=not outage.not_ready,
            refused_after_recovery=len(late),
            too_long_to_recover=back - outage.ended > _RECOVERED,
        ),
    )


@contextmanager
def _locked(_: Server, data: Path) -> Iterator[None]:
    """Hold SQLite's write lock during the ``with`` block, as a shell with an open transaction would."""
    with closing(sqlite3.connect(data / "pycalc.db", isolation_level=None, timeout=10)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        yield
        shell.execute("ROLLBACK")


def locking(seconds: float = 30.0) -> Finding:
    """Run the drill with an outage in which another process holds SQLite's write lock."""
    with TemporaryDirectory(prefix="drill-") as folder:
        return _outage("write lock held", "another process held SQLite's write lock", _locked, seconds, Path(folder))


@contextmanager
def _full(_: Server, data: Path) -> Iterator[None]:
    """Fill the file system of the data folder to its last byte; free the space after the ``with`` block."""
    ballast = data / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    yield
    ballast.unlink()


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """Mount a new file system of this size, and yield its folder; raises OSError if mounting is not allowed."""
    with TemporaryDirectory(prefix="drill-") as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if mounted.returncode:
            raise PermissionError(mounted.stderr.strip())
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def filling(seconds: float = 20.0) -> Finding:
    """Run the drill with an outage in which the disk is full."""
    with small_disk("64m") as disk:
        return _outage("disk full", "not a byte was free", _full, seconds, disk)


@contextmanager
def _unwritable(server: Server, _: Path) -> Iterator[None]:
    """Set the service's file size limit to 0: its writes fail with EFBIG, which SQLite reports as an I/O error."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


def failing_writes(seconds: float = 10.0) -> Finding:
    """Run the drill with an outage in which writes fail with an I/O error."""
    with TemporaryDirectory(prefix="drill-") as folder:
        return _outage("I/O error", "writes failed", _unwritable, seconds, Path(folder))


@contextmanager
def _hanging(server: Server, _: Path) -> Iterator[None]:
    """Make the server's ``fdatasync`` hang during the ``with`` block; raises PermissionError if strace can't attach."""
    tracer = subprocess.Popen(
        [*_STRACE, "-p", str(server.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    assert tracer.stderr is not None  # noqa: S101  # a pipe
    if b"attached" not in (said := tracer.stderr.readline()):
        raise PermissionError(said.decode())
    yield
    tracer.send_signal(signal.SIGINT)
    tracer.wait(10)
    tracer.stderr.close()


def hanging(seconds: float = 30.0) -> Finding:
    """Run the drill with an outage in which no ``fdatasync`` returns."""
    with TemporaryDirectory(prefix="drill-") as folder:
        return _outage("hanging sync", "no sync of a file returned", _hanging, seconds, Path(folder))


def cannot_trace() -> str | None:
    """Return why strace can't delay a server's system calls here; None if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    idle = subprocess.Popen(["sleep", "30"])
    try:
        with _hanging(Server("sleep", 0, idle.pid, 0.0, idle), Path()):
            return None
    except PermissionError as error:
        return str(error)
    finally:
        idle.kill()
        idle.wait()


def cannot_mount() -> str | None:
    """Return why a small disk can't be mounted here; None if it can."""
    if shutil.which("mount") is None:
        return "mount is not installed"
    try:
        with small_disk("64k"):
            return None
    except OSError as error:
        return str(error)
