"""Revocations by other processes: read each second, so that no request has to (ADR 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from structlog import get_logger

from pycalc.db.base import RevocationStore
from pycalc.errors import PycalcError
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.token_cache import Bearers

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
"""For how long kept bearers are believed after a look. Then every token is looked up in the store: that answers, or the
request is refused; a process that was frozen for a while, as serverless platforms do, goes on at once."""

_log = get_logger(__name__)


class RevocationWatch:
    """Forgets the bearers that any process on the database has revoked; believes none when it can't tell."""

    def __init__(
        self, store: RevocationStore, bearers: Bearers, metrics: Metrics, newest: int, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._bearers = bearers
        self._failures = metrics.revocation_failures
        self._number = newest
        self._clock = clock
        self._notified = asyncio.Event()
        self._believe_from(clock())
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="revocations")

    @classmethod
    async def open(
        cls, store: RevocationStore, bearers: Bearers, metrics: Metrics, clock: Callable[[], float] = monotonic
    ) -> RevocationWatch:
        """Watch from now on: no bearer is kept yet, so what was revoked before does not matter."""
        return cls(store, bearers, metrics, await store.newest(), clock)

    def notify(self) -> None:
        """Say that there may be a revocation: look at once."""
        self._notified.set()

    async def _look(self) -> None:
        """Read what was revoked since the last look, and forget whom it concerns; raises StoreUnavailable."""
        began = self._clock()
        revocations = await self._store.since(self._number)
        users = revocations.users
        if users is None or users:
            self._bearers.forget(lambda bearer: users is None or bearer.user_id in users)
        self._number = revocations.newest
        self._believe_from(began)

    async def aclose(self) -> None:
        """Stop watching."""
        self._runner.cancel()
        await asyncio.wait({self._runner})

    def _believe_from(self, began: float) -> None:
        self._bearers.believed_until = began + _PATIENCE_SECONDS

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._notified.wait(), _POLL_SECONDS)
            self._notified.clear()
            try:
                await self._look()
            except PycalcError as error:
                self._failures.inc()
                _log.warning("revocations can't be read", error=str(error))
