"""Recovery of the history's writes after a failure, without waiting for traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from structlog import get_logger

from pycalc.db.base import HistoryStore

_log = get_logger(__name__)


class WriteProbe:
    """The health of writes to the history. After a failure it writes probes until a probe or a commit succeeds.

    An instance that is not ready may get no requests, and then no commit would show that writes work again.
    """

    def __init__(self, history: HistoryStore, interval: float, committing: Callable[[], bool]) -> None:
        """``interval`` is in seconds. While ``committing`` returns true, the commit itself serves as the probe."""
        self._history = history
        self._interval = interval
        self._committing = committing
        self._task: asyncio.Task[None] | None = None
        self.failing = False

    async def check(self) -> None:
        """Write one probe, and start to repeat it when it fails."""
        try:
            await self._history.probe()
        except Exception as error:
            _log.warning("the history cannot be written", error=str(error))
            self.fail()

    def fail(self) -> None:
        """Record a failed write."""
        self.failing = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._repeat(), name="recorder probe")

    async def aclose(self) -> None:
        """Stop probing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _repeat(self) -> None:
        while self.failing:
            await asyncio.sleep(self._interval)
            if self._committing():
                continue
            with suppress(Exception):  # the next probe may succeed
                await self._history.probe()
                self.failing = False
                _log.info("the history can be written again")
