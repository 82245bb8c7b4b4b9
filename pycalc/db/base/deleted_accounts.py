"""The interface of the list of deleted accounts whose history is to be erased or made anonymous."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class DeletedAccount(NamedTuple):
    """An account that was deleted at ``deleted_ms``, in milliseconds since the epoch.

    Its history and usage totals are erased, or else kept without its name.
    """

    user_id: bytes
    erase: bool
    deleted_ms: int


class DeletedAccountStore(Protocol):
    """Deleted accounts with work left to do, and the names that are reserved."""

    async def following(self, user_id: bytes) -> DeletedAccount | None:
        """Return the account of the list with the lowest id above ``user_id``, None when there is none."""

    async def anonymize(self, user_id: bytes, after: bytes, limit: int) -> bytes | None:
        """Replace the name in up to ``limit`` rows of a user's history with ids above ``after``, oldest first.

        Return the last of these ids, None without rows. Events that are still unpublished go out without the name.
        """

    async def erase_totals(self, user_id: bytes, limit: int) -> int:
        """Delete up to ``limit`` of a user's usage totals; return how many were deleted."""

    async def finish(self, user_id: bytes) -> None:
        """Remove an account from the list."""

    async def release_names(self, now_ms: int, limit: int) -> int:
        """Delete up to ``limit`` names whose reservation has ended; return how many were deleted.

        Names that lead to a history stay.
        """
