"""The interface of the store of password resets."""

from __future__ import annotations

from typing import Protocol

from pycalc.models.auth import User


class PasswordResetStore(Protocol):
    """The store of password-reset tokens, at most one for each user. Times are in milliseconds since the epoch."""

    async def offer(self, user_id: bytes, token_hash: bytes, expires_ms: int, granted_by: bytes | None = None) -> None:
        """Store a token in place of the user's earlier one; raises NotFound if the account is deleted.

        Raises Forbidden if ``granted_by`` is not an enabled admin's id.
        """

    async def owner(self, token_hash: bytes, now_ms: int) -> User | None:
        """Return the user of a valid token; None for any other token, a disabled user, or a user without a password."""

    async def use(self, token_hash: bytes, now_ms: int, password_hash: str) -> None:
        """Store a new password, delete the token, end the user's sessions. Raises Unauthorized for an invalid token."""
