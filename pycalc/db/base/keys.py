"""The interface of the API key store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pycalc.models.auth import StoredKey, User


class KeyBearer(NamedTuple):
    """An API key and its owner."""

    user: User
    key: StoredKey


class KeyUse(NamedTuple):
    """A use of an API key: the time in milliseconds since the epoch, and the client's address."""

    key_id: bytes
    used_ms: int
    used_from: str


class KeyStore(Protocol):
    """The store of API keys. ``key_hash`` is the SHA-256 of a key's secret text."""

    async def add(self, key: StoredKey, key_hash: bytes, limit: int, session_id: bytes | None = None) -> None:
        """Add a key. Raises Conflict if the user has ``limit`` keys already.

        Raises InvalidToken if the user was deleted or disabled, or if ``session_id`` is not a session of the user.
        """

    async def of_user(self, user_id: bytes) -> list[StoredKey]:
        """Return a user's keys, oldest first."""

    async def bearer(self, key_hash: bytes, now_ms: int) -> KeyBearer | None:
        """Return a key and its owner, or None if the key is unknown or expired, or its owner is disabled."""

    async def note(self, uses: Sequence[KeyUse]) -> None:
        """Store the last uses of keys. An earlier use never replaces a later one."""

    async def remove(self, user_id: bytes, key_id: bytes) -> None:
        """Delete a user's key; raises NotFound if the user has no such key."""
