"""The interface of the store of second factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class StoredTotp(NamedTuple):
    """The second factor of an account."""

    secret: bytes  # encrypted
    last_step: int | None  # the time step of the newest accepted code; None until the enrolment is confirmed


class TotpStore(Protocol):
    """Second factors: for each account one secret of time-based codes, and the hashes of its recovery codes."""

    async def offer(self, user_id: bytes, secret: bytes) -> None:
        """Store the secret of an enrolment to be confirmed, in place of an earlier unconfirmed one.

        Raises Conflict if the account has a second factor, InvalidToken if the account is gone.
        """

    async def of_user(self, user_id: bytes) -> StoredTotp | None:
        """Return the account's second factor or its unconfirmed enrolment, None without either."""

    async def confirm(
        self, user_id: bytes, secret: bytes, step: int, recovery_hashes: Sequence[bytes], session_id: bytes
    ) -> None:
        """Turn the second factor on, and end the user's sessions except ``session_id``, in one transaction.

        ``recovery_hashes`` have 32 bytes each. Raises Conflict if the enrolment has another secret or is confirmed by
        now, InvalidToken if that session has ended.
        """

    async def use_step(self, user_id: bytes, step: int, before: bytes, after: bytes) -> bool:
        """Accept the code of a time step of the secret ``before``, and store the secret as ``after``.

        Return False if the step is not newer than the last one, or the stored secret is no longer ``before``.
        """

    async def use_recovery(self, user_id: bytes, code_hash: bytes) -> bool:
        """Delete a recovery code; return False if there is none with this hash."""

    async def remove(self, user_id: bytes, session_id: bytes | None) -> None:
        """Turn the second factor off, and end the user's sessions except ``session_id``, in one transaction.

        Raises NotFound if the account has no second factor.
        """
