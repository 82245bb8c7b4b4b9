"""The interface of the store of idempotency keys."""

from __future__ import annotations

from typing import Protocol

from pycalc.models.idempotency import KeyRow


class IdempotencyStore(Protocol):
    """The store of requests that were recorded with an idempotency key. ``HistoryStore.append`` adds them."""

    async def find(self, identity: bytes) -> KeyRow | None:
        """Return the request that was recorded with an idempotency key, or None if there is none.

        ``identity`` is the ``id`` of the RequestKey: a digest of the user's id and the client's key.
        """

    async def forget(self, before_ms: int, limit: int) -> int:
        """Delete up to ``limit`` keys older than ``before_ms``, the oldest first; return how many were deleted."""
