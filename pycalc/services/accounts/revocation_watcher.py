"""Polling of the database for revocations by other processes, so that requests can use cached tokens (ADR 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from structlog import get_logger

from pycalc.backoff import wait_until_set
from pycalc.db.base import RevocationStore
from pycalc.errors import PycalcError
from pycalc.observability.metrics import AccountMetrics
from pycalc.services.accounts.token_cache import TokenCache

_log = get_logger(__name__)


class RevocationWatcher:
    """A task that evicts the cached tokens of users whose access any process has revoked.

    Cached tokens are used for ``trust_seconds`` after the beginning of the last successful read of the revocations.
    After that, each token is looked up in the store until a read succeeds. So a process that was suspended for a while
    does not trust its cached tokens.
    """

    def __init__(
        self,
        store: RevocationStore,
        token_cache: TokenCache,
        metrics: AccountMetrics,
        *,
        last_seen: int,
        clock: Callable[[], float] = monotonic,
        poll_seconds: float = 1.0,
        trust_seconds: float = 5.0,
    ) -> None:
        """Start the task. Every ``poll_seconds``, it reads new revocations, at first those after ``last_seen``."""
        self._store = store
        self._token_cache = token_cache
        self._failures = metrics.revocation_failures
        self._last_seen = last_seen
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._trust_seconds = trust_seconds
        self._wake = asyncio.Event()
        token_cache.trusted_until = clock() + trust_seconds
        self._task = asyncio.get_running_loop().create_task(self._run(), name="revocations")

    def poll_now(self) -> None:
        """Let the task read the revocations at once instead of at the next interval."""
        self._wake.set()

    async def aclose(self) -> None:
        """Stop the task."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            if await wait_until_set(self._wake, self._poll_seconds):
                await asyncio.sleep(0.02)  # notifications within this time cause one read of the database
            self._wake.clear()
            try:
                await self._read()
            except Exception as error:  # the next read may succeed
                self._failures.inc()
                trace = None if isinstance(error, PycalcError) else error
                _log.warning("revocations can't be read", error=str(error), exc_info=trace)

    async def _read(self) -> None:
        began = self._clock()
        self._last_seen, users = await self._store.since(self._last_seen)
        if users is None or users:  # None: revocations were deleted before they were read, so any user may be affected
            self._token_cache.evict(lambda principal: users is None or principal.user_id in users)
        self._token_cache.trusted_until = began + self._trust_seconds
