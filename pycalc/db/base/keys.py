"""The interface of the API key store."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pycalc.models.auth import StoredKey, User


class KeyBearer(NamedTuple):
    """An API key's owner, its id, and its expiry in milliseconds since the epoch, None for never."""

    user: User
    key_id: bytes
    expires_ms: int | None


class KeyStore(Protocol):
    """API keys, found by the hash of their secret."""

    async def add(self, key: StoredKey, key_hash: bytes, limit: int) -> None:
        """Insert a key; raises Conflict if the user already has ``limit`` keys, InvalidToken if the user is gone."""

    async def of_user(self, user_id: bytes) -> list[StoredKey]:
        """Return a user's keys, oldest first."""

    async def use(self, key_hash: bytes, now_ms: int) -> KeyBearer | None:
        """Return the owner of a key, None if the key is unknown or expired or its owner is disabled.

        Record the time of the use, to within five minutes.
        """

    async def remove(self, user_id: bytes, key_id: bytes) -> None:
        """Delete a user's key; raises NotFound if the user has no such key."""
