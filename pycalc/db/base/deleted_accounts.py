"""The interface of the list of deleted accounts whose history must be erased or made anonymous."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class DeletedAccount(NamedTuple):
    """A deleted account whose history must be erased or made anonymous."""

    user_id: bytes
    erase: bool  # whether to erase history and usage totals; if not, the history is made anonymous
    deleted_ms: int  # since the epoch


class DeletedAccountStore(Protocol):
    """The deleted accounts whose history must still be erased or made anonymous, and their reserved names."""

    async def following(self, user_id: bytes) -> DeletedAccount | None:
        """Return the listed account with the lowest id above ``user_id``, or None if there is none."""

    async def anonymize(self, user_id: bytes, after: bytes, limit: int) -> bytes | None:
        """Replace the user's name by DELETED_NAME in the ``limit`` oldest history rows with ids above ``after``.

        Return the id of the last changed row, or None if there were no rows.
        """

    async def erase_totals(self, user_id: bytes, limit: int) -> int:
        """Delete up to ``limit`` of a user's usage totals; return how many were deleted."""

    async def finish(self, user_id: bytes) -> None:
        """Remove an account from the list."""

    async def release_names(self, now_ms: int, limit: int) -> int:
        """Delete up to ``limit`` names of accounts without history whose reservation has ended; return how many."""
