"""The interface of the store of quota uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class QuotaUse(NamedTuple):
    """A user's use of a quota in one window and in one process.

    Saving a figure replaces a lower one under the same id, because a use only grows. Saving it twice changes nothing.
    """

    id: bytes
    user_id: bytes
    quota: str
    ends: int  # the window's end, seconds since the epoch
    used: int  # in millionths of the quota's unit


class QuotaTotal(NamedTuple):
    """The sum of a user's uses of a quota in one window, in millionths of the quota's unit."""

    user_id: bytes
    quota: str
    ends: int
    used: int


class QuotaStore(Protocol):
    """The quota uses of all processes, which remain after a process has ended."""

    async def save(self, uses: Sequence[QuotaUse]) -> None:
        """Store uses; of two under one id, the one with the larger figure remains."""

    async def totals(self, user_ids: Sequence[bytes], now: int, but: Sequence[bytes]) -> list[QuotaTotal]:
        """Return the totals of these users in windows that end after ``now``, in seconds since the epoch.

        The uses with ids in ``but`` are left out.
        """

    async def forget(self, now: int, limit: int) -> int:
        """Delete up to ``limit`` uses whose windows ended by ``now``; return how many were deleted."""
