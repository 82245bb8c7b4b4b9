"""The interface of the store of password resets."""

from __future__ import annotations

from typing import Protocol

from pycalc.models.auth import User


class PasswordResetStore(Protocol):
    """The store of password-reset tokens, at most one for each user. Times are in milliseconds since the epoch."""

    async def offer(self, user_id: bytes, token_hash: bytes, expires_ms: int) -> None:
        """Store a token in place of the user's earlier one. Raises NotFound if the account is deleted."""

    async def owner(self, token_hash: bytes, now_ms: int) -> User | None:
        """Return the user of a token, or None if the token is unknown or expired, or the user is disabled."""

    async def use(self, token_hash: bytes, now_ms: int, password_hash: str) -> None:
        """Store the new password, delete the token, and end all of the user's sessions, in one transaction.

        Raises Unauthorized if the token is no longer valid.
        """
