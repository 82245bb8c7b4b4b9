"""Revocations by other processes: read each second, so that no request has to (ADR 11)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from structlog import get_logger

from pycalc.db.base import RevocationStore
from pycalc.errors import PycalcError
from pycalc.observability.metrics import Metrics
from pycalc.services.bearers import Bearers

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
"""For how long kept bearers are believed while revocations can't be read."""

_log = get_logger(__name__)


class RevocationWatch:
    """Forgets the bearers that any process on the database has revoked; closes the door when it can't tell."""

    def __init__(self, store: RevocationStore, bearers: Bearers, metrics: Metrics, newest: int) -> None:
        self._store = store
        self._bearers = bearers
        self._failures = metrics.revocation_failures
        self._number = newest
        self._hint = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._patience = self._loop.call_later(_PATIENCE_SECONDS, self._suspend)
        self._runner = self._loop.create_task(self._run(), name="revocations")

    @classmethod
    async def open(cls, store: RevocationStore, bearers: Bearers, metrics: Metrics) -> RevocationWatch:
        """Watch from now on: no bearer is kept yet, so what was revoked before does not matter."""
        return cls(store, bearers, metrics, await store.newest())

    def hint(self) -> None:
        """Say that there may be a revocation: look at once."""
        self._hint.set()

    async def aclose(self) -> None:
        """Stop watching."""
        self._patience.cancel()
        self._runner.cancel()
        await asyncio.wait({self._runner})

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hint.wait(), _POLL_SECONDS)
            self._hint.clear()
            try:
                await self._look()
            except PycalcError as error:
                self._failures.inc()
                _log.warning("revocations can't be read", error=str(error))

    async def _look(self) -> None:
        """Read what was revoked since the last look, and forget whom it concerns."""
        revocations = await self._store.since(self._number)
        users = revocations.users
        if users is None or users:
            self._bearers.forget(lambda bearer: users is None or bearer.user_id in users)
        self._number = revocations.newest
        self._patience.cancel()
        self._patience = self._loop.call_later(_PATIENCE_SECONDS, self._suspend)
        self._bearers.suspended = False

    def _suspend(self) -> None:
        self._bearers.suspended = True
        _log.error("tokens are refused: revocations could not be read", seconds=_PATIENCE_SECONDS)
