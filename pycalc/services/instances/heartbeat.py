"""Reports of the state of this process to the database, so that each process can show all processes (ADR 32)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from structlog import get_logger

from pycalc import __version__
from pycalc.backoff import wait_until_set
from pycalc.db.base import Instance, InstanceStore
from pycalc.errors import StoreUnavailable
from pycalc.models.ids import now_ms
from pycalc.models.service import Figures

STALE_MS = 60_000  # a process without a report for this long counts as ended

_log = get_logger(__name__)


class Heartbeat:
    """A task that stores the state of this process at its start and then every 10 s."""

    def __init__(
        self, store: InstanceStore, command: str, figures: Callable[[], Figures], *, seconds: float = 10.0
    ) -> None:
        """Start the task. ``command`` is the command that this process runs: serve, relay or consume."""
        self._store = store
        self._id = uuid4().bytes
        self._command = command
        self._figures = figures
        self._seconds = seconds
        self._started_ms = now_ms()
        self._failed = False
        self._closing = asyncio.Event()
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="heartbeat")

    async def aclose(self) -> None:
        """Stop the task and delete this process from the database.

        If the database is unavailable, another process removes this one from the list after STALE_MS without a report.
        """
        self._closing.set()
        await self._runner
        with suppress(StoreUnavailable):
            await self._store.forget(self._id)

    async def _run(self) -> None:
        while not self._closing.is_set():
            now = now_ms()
            figures = json.dumps(self._figures())
            state = Instance(self._id, self._command, __version__, self._started_ms, now, figures)
            try:
                await self._store.report(state, now - STALE_MS)
                self._failed = False
            except Exception as error:  # the next report may succeed
                if not self._failed:  # one record for each outage
                    _log.warning("the state of this process was not stored", error=str(error))
                self._failed = True
            await wait_until_set(self._closing, self._seconds)
