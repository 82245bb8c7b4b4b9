"""The interfaces of the stores of API keys, of password resets and of second factors."""

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
        """Add a key.

        Raises Conflict if the user has ``limit`` keys already. Raises InvalidToken if the user was deleted or disabled,
        or if ``session_id`` is not the id of a session of the user.
        """

    async def of_user(self, user_id: bytes) -> list[StoredKey]:
        """Return a user's keys, oldest first."""

    async def bearer(self, key_hash: bytes, now_ms: int) -> KeyBearer | None:
        """Return a key and its owner, or None if the key is unknown or expired, or its owner is disabled."""

    async def note(self, uses: Sequence[KeyUse]) -> None:
        """Store the last uses of keys. An earlier use never replaces a later one."""

    async def remove(self, user_id: bytes, key_id: bytes) -> None:
        """Delete a user's key; raises NotFound if the user has no such key."""


class PasswordResetStore(Protocol):
    """The store of password-reset tokens, at most one for each user. Times are in milliseconds since the epoch."""

    async def offer(self, user_id: bytes, token_hash: bytes, expires_ms: int, granted_by: bytes | None = None) -> None:
        """Store a token in place of the user's earlier one.

        Raises Forbidden if ``granted_by`` is not an enabled admin's id, and NotFound if the account is deleted.
        """

    async def owner(self, token_hash: bytes, now_ms: int) -> User | None:
        """Return the user of a valid token; None for any other token, a disabled user, or a user without a password."""

    async def use(self, token_hash: bytes, now_ms: int, password_hash: str) -> None:
        """Store the user's new password, delete the token, and end all of the user's sessions.

        Raises Unauthorized if ``owner`` would return None for the token.
        """


class StoredTotp(NamedTuple):
    """The second factor of an account, or its unconfirmed enrolment."""

    secret: bytes  # encrypted
    last_step: int | None  # the time step of the newest accepted code; None until the enrolment is confirmed


class TotpStore(Protocol):
    """The store of second factors: an account's secret for time-based codes, and the hashes of its recovery codes."""

    async def offer(self, user_id: bytes, secret: bytes) -> None:
        """Store the secret of an enrolment in place of an earlier unconfirmed one.

        Raises Conflict if the account has a second factor, and InvalidToken if the account was deleted.
        """

    async def of_user(self, user_id: bytes) -> StoredTotp | None:
        """Return an account's second factor or its unconfirmed enrolment, or None if it has neither."""

    async def confirm(
        self, user_id: bytes, secret: bytes, step: int, recovery_hashes: Sequence[bytes], session_id: bytes
    ) -> None:
        """Turn the second factor on, and end the user's sessions except ``session_id``.

        Each of ``recovery_hashes`` has 32 bytes. Raises Conflict if there is no unconfirmed enrolment with this
        secret, and InvalidToken if the session ``session_id`` has ended.
        """

    async def use_step(self, user_id: bytes, step: int, before: bytes, after: bytes) -> bool:
        """Mark the code of a time step as used, and replace the stored secret ``before`` by ``after``.

        Return False if the step is not later than the last used step, if the stored secret is no longer ``before``, or
        if the second factor is not confirmed.
        """

    async def use_recovery(self, user_id: bytes, code_hash: bytes) -> bool:
        """Delete the recovery code with this hash. Return False if there is none."""

    async def remove(self, user_id: bytes, session_id: bytes | None, granted_by: bytes | None = None) -> None:
        """Turn the second factor off, and end the user's sessions except ``session_id``; None ends all sessions.

        Raises Forbidden if ``granted_by`` is not an enabled admin's id, and NotFound if the account has no second
        factor.
        """
