"""The interface of the store of quota uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class QuotaUse(NamedTuple):
    """The amount of a quota that one process has counted as used in one window. Only refunds decrease the amount."""

    id: bytes
    user_id: bytes  # of the user or, for an API key with a quota of its own, of the key
    quota: str  # its name
    ends: int  # the window's end, seconds since the epoch
    used: int  # in millionths of the quota's unit


class QuotaTotal(NamedTuple):
    """The sum of the stored amounts of a quota used in one window, in millionths of the unit."""

    user_id: bytes  # as in QuotaUse
    quota: str
    ends: int
    used: int


class QuotaStore(Protocol):
    """The store of quota uses of all processes, including processes that have ended."""

    async def save(self, uses: Sequence[QuotaUse]) -> None:
        """Insert uses, or update the stored uses with the same ids. A smaller amount never replaces a larger one."""

    async def totals(self, user_ids: Sequence[bytes], now: int, but: Sequence[bytes]) -> list[QuotaTotal]:
        """Return the totals of these users and API keys, without the uses whose ids are in ``but``.

        Only windows that end after ``now``, in seconds since the epoch, are included.
        """

    async def forget(self, now: int, limit: int) -> int:
        """Delete up to ``limit`` uses whose windows ended by ``now``; return how many were deleted."""
