"""The interface of the store of idempotency keys."""

from __future__ import annotations

from typing import Protocol

from pycalc.models.idempotency import KeyRow


class IdempotencyStore(Protocol):
    """The recorded requests that had an idempotency key. ``HistoryStore.append`` adds them."""

    async def find(self, identity: bytes) -> KeyRow | None:
        """Return the request with this id, a digest of the user's id and the client's key, or None if there is none."""

    async def forget(self, before_ms: int, limit: int) -> int:
        """Delete up to ``limit`` requests older than ``before_ms``, oldest first, and return how many were deleted.

        ``before_ms`` is in milliseconds since the epoch.
        """
