"""The interface of the store of password resets."""

from __future__ import annotations

from typing import Protocol

from pycalc.models.auth import User


class PasswordResetStore(Protocol):
    """One-time tokens that set a new password, at most one for each user; times are milliseconds since the epoch."""

    async def offer(self, user_id: bytes, token_hash: bytes, expires_ms: int) -> None:
        """Store a token, and drop the user's earlier one; raises NotFound when the account is deleted."""

    async def owner(self, token_hash: bytes, now_ms: int) -> User | None:
        """Return the user of a valid token; None for an unknown or expired one, and for a disabled user."""

    async def use(self, token_hash: bytes, now_ms: int, password_hash: str) -> None:
        """Store the new password, drop the token, and end all of the user's sessions, in one transaction.

        Raises Unauthorized when the token is not valid any more.
        """
