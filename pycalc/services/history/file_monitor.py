"""Monitoring of the SQLite file, so that nothing is recorded on a full disk or in a file that was moved away."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Literal

from structlog import get_logger

from pycalc.errors import StoreUnavailable
from pycalc.observability.metrics import HistoryMetrics

_RETRY_SECONDS = 30
_DETAILS = {
    "disk": "The disk is nearly full, so calculations can't be recorded: the operator must free some space.",
    "file": "The database file was moved, deleted or replaced, so calculations can't be recorded: the operator must "
    "put it back or restore a backup.",
}

_log = get_logger(__name__)


class FileMonitor:
    """A monitor of an SQLite file. ``problem`` is the reason why no calculation may be recorded, or None.

    ``disk``: the free space on the disk is below a reserve, which is kept for other writes, such as logins and
    deletions. ``file``: the file or its write-ahead log was moved, deleted or replaced after it was opened. Commits
    would still succeed, but the next start would not find them.
    """

    def __init__(self, file: Path, reserve_bytes: int, metrics: HistoryMetrics, *, seconds: float = 1.0) -> None:
        """Check the file, and start a task that checks it again every ``seconds``. The database must be open.

        ``reserve_bytes`` should exceed what the recorder can write between two checks: about 30 MB a second. Raises
        OSError if the first check fails.
        """
        self._files = [file, file.with_name(file.name + "-wal")]
        self._opened = [_identity(each) for each in self._files]
        self._reserve_bytes = reserve_bytes
        self._seconds = seconds
        self._free = metrics.disk_free
        self.problem: Literal["disk", "file"] | None = None
        metrics.disk_reserve.set(reserve_bytes)
        self._check()
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="file monitor")

    def require(self) -> None:
        """Raise StoreUnavailable if no calculation may be recorded now."""
        if self.problem is not None:
            raise StoreUnavailable(_DETAILS[self.problem], _RETRY_SECONDS)

    async def aclose(self) -> None:
        """Stop the task."""
        self._runner.cancel()
        await asyncio.wait({self._runner})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await asyncio.to_thread(self._check)
            except OSError as error:  # the database reports a disk that fails
                _log.warning("the database file can't be checked", file=str(self._files[0]), error=str(error))

    def _check(self) -> None:
        before = self.problem
        if [_identity(each) for each in self._files] != self._opened:
            self.problem = "file"
        else:
            disk = os.statvfs(self._files[0].parent)
            free = disk.f_bavail * disk.f_frsize
            self._free.set(free)
            self.problem = "disk" if free < self._reserve_bytes else None
        if self.problem == before:
            return
        if self.problem is None:
            _log.info("calculations are recorded again")
        else:
            _log.error("calculations are refused", reason=_DETAILS[self.problem], file=str(self._files[0]))


def _identity(file: Path) -> tuple[int, int] | None:
    """Return the device and the inode of a file, or None if the file does not exist. Raises other OSErrors."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
