"""The lease on the outbox. Several relays may share a database, and only the lease's holder publishes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from pycalc.db.base import OutboxStore

_SECONDS = 10.0


class OutboxLease:
    """A lease on the outbox of a database, which expires unless its holder renews it."""

    def __init__(self, outbox: OutboxStore, clock: Callable[[], float]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._owner = uuid4().bytes
        self._held_until = 0.0

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the lease expires, or 0 or less if this relay does not hold the lease."""
        return self._held_until - self._clock()

    @property
    def held(self) -> bool:
        """Return whether this relay holds the lease."""
        return self.seconds_left > 0

    async def acquire(self) -> bool:
        """Acquire or renew the lease; return False if another relay holds it. Raises StoreUnavailable."""
        began = self._clock()  # read before the call, so that the lease ends here before it ends in the database
        acquired = await self._outbox.hold(self._owner, round(_SECONDS * 1000))
        self._held_until = began + _SECONDS if acquired else 0.0
        return acquired

    async def release(self) -> None:
        """Release the lease to other relays. Ignore a failure, because the lease expires by itself."""
        self._held_until = 0.0
        with suppress(Exception):
            await self._outbox.release(self._owner)
