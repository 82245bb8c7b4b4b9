"""Monitoring of the disk that holds the SQLite file, so that recording stops before the disk is full."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from structlog import get_logger

from pycalc.backoff import wait_until_set
from pycalc.errors import StoreUnavailable
from pycalc.observability.metrics import HistoryMetrics

_RETRY_SECONDS = 30

_log = get_logger(__name__)


class DiskSpace:
    """A task that reads the free space of a disk, by default each second.

    A second is short enough, because the recorder writes at most some 30 MB a second. A reserve stays free for writes
    that must continue, such as logins, the outbox and deletions.
    """

    def __init__(self, folder: Path, reserve_bytes: int, metrics: HistoryMetrics, *, seconds: float = 1.0) -> None:
        """Read every ``seconds`` how much is free on the disk of ``folder``. The reserve has ``reserve_bytes``.

        Raises OSError if the free space can't be read.
        """
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._seconds = seconds
        self._free = metrics.disk_free
        self.low = False  # less than the reserve is free
        metrics.disk_reserve.set(reserve_bytes)
        self._read()
        self._closing = asyncio.Event()
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="disk space")

    def require(self) -> None:
        """Raise StoreUnavailable if less than the reserve is free."""
        if self.low:
            detail = "The disk is nearly full, so calculations can't be recorded: the operator must free some space."
            raise StoreUnavailable(detail, _RETRY_SECONDS)

    async def aclose(self) -> None:
        """Stop the task."""
        self._closing.set()
        await self._runner

    async def _run(self) -> None:
        while not self._closing.is_set():
            await wait_until_set(self._closing, self._seconds)
            try:
                await asyncio.to_thread(self._read)
            except OSError as error:  # if the disk is gone, the database reports that
                _log.warning("the free disk space can't be read", folder=str(self._folder), error=str(error))

    def _read(self) -> None:
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        self._free.set(free)
        low, before = free < self._reserve_bytes, self.low
        self.low = low
        if low and not before:
            _log.error("the disk is nearly full: calculations are refused", free=free, reserve=self._reserve_bytes)
        elif before and not low:
            _log.info("the disk has enough space again: calculations are recorded", free=free)
