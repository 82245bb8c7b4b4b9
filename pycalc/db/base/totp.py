"""The interface of the store of second factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


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
        """Record that the code of a time step was used, and replace the encrypted secret ``before`` by ``after``.

        Return False and change nothing if this or a later step was used, or no confirmed second factor has ``before``.
        """

    async def use_recovery(self, user_id: bytes, code_hash: bytes) -> bool:
        """Delete the recovery code with this hash. Return False if there is none."""

    async def remove(self, user_id: bytes, session_id: bytes | None, granted_by: bytes | None = None) -> None:
        """Turn the second factor off, and end the user's sessions except ``session_id``; None ends all sessions.

        Raises Forbidden if ``granted_by`` is not an enabled admin's id, and NotFound if the account has no second
        factor.
        """
