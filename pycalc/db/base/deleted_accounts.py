"""The interface of the list of deleted accounts whose history must be erased or made anonymous."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class DeletedAccount(NamedTuple):
    """An account that was deleted at ``deleted_ms``, in milliseconds since the epoch.

    If ``erase`` is set, the account's history and usage totals must be erased, else the history must be made anonymous.
    """

    user_id: bytes
    erase: bool
    deleted_ms: int


class DeletedAccountStore(Protocol):
    """The deleted accounts whose history must still be processed, and the reserved names of deleted accounts."""

    async def following(self, user_id: bytes) -> DeletedAccount | None:
        """Return the listed account with the lowest id above ``user_id``, or None if there is none."""

    async def anonymize(self, user_id: bytes, after: bytes, limit: int) -> bytes | None:
        """Replace the user's name in up to ``limit`` history rows with ids above ``after``, oldest first.

        Return the id of the last row that was changed, or None if there were no rows. Events of these rows that are
        published later do not have the name.
        """

    async def erase_totals(self, user_id: bytes, limit: int) -> int:
        """Delete up to ``limit`` of a user's usage totals; return how many were deleted."""

    async def finish(self, user_id: bytes) -> None:
        """Remove an account from the list."""

    async def release_names(self, now_ms: int, limit: int) -> int:
        """Delete up to ``limit`` names whose reservation has ended; return how many were deleted.

        If a deleted account's history still shows its name, the name is never deleted.
        """
