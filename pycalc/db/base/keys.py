"""The interface of the API key store."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pycalc.models.auth import StoredKey, User


class KeyBearer(NamedTuple):
    """The owner of an API key, and the key's expiry in milliseconds since the epoch, None for never."""

    user: User
    key_id: bytes
    expires_ms: int | None


class KeyStore(Protocol):
    """API keys, found by the hash of their secret."""

    async def add(self, key: StoredKey, key_hash: bytes, limit: int) -> None:
        """Insert a key; raises Conflict when the user already has ``limit`` keys."""

    async def of_user(self, user_id: bytes) -> list[StoredKey]:
        """Return a user's keys, oldest first."""

    async def use(self, key_hash: bytes, now_ms: int) -> KeyBearer | None:
        """Return the owner of a key and record the use; None if it is unknown or expired, or the owner disabled."""

    async def remove(self, user_id: bytes, key_id: bytes) -> None:
        """Delete a user's key; raises NotFound."""
