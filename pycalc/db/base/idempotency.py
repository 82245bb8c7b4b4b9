"""The interface of the store of idempotency keys."""

from __future__ import annotations

from typing import Protocol

from pycalc.models.idempotency import KeyRow


class IdempotencyStore(Protocol):
    """The recorded requests with idempotency keys; ``HistoryStore.append`` stores them."""

    async def find(self, identity: bytes) -> KeyRow | None:
        """Return the request that was recorded under this key, None when there is none."""

    async def forget(self, before_ms: int, limit: int) -> int:
        """Delete up to ``limit`` keys made before that time, the oldest first; return how many were deleted."""
