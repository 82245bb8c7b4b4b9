"""Monitoring of the free space on the SQLite file's disk, so that recording stops before the disk is full."""

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
    """A monitor of a disk's free space. ``low`` is True while less than a reserve is free.

    While ``low`` is True, no calculation may be recorded. The reserve is for all other writes, such as logins and
    deletions.
    """

    def __init__(self, folder: Path, reserve_bytes: int, metrics: HistoryMetrics, *, seconds: float = 1.0) -> None:
        """Read the free space, and start a task that reads it again every ``seconds``.

        The disk is that of ``folder``. The reserve has ``reserve_bytes``, which should exceed what the recorder can
        write between two readings: about 30 MB a second. Raises OSError if the first reading fails.
        """
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._seconds = seconds
        self._free = metrics.disk_free
        self.low = False
        metrics.disk_reserve.set(reserve_bytes)
        self._read()
        self._closing = asyncio.Event()
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="disk space")

    def require(self) -> None:
        """Raise StoreUnavailable if ``low`` is True."""
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
