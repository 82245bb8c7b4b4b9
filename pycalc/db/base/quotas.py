"""The interface of the store of quota usage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class QuotaUse(NamedTuple):
    """The amount of a quota that a user or an API key has used in one window, as counted by one process."""

    id: bytes
    user_id: bytes  # of the user or, for an API key with a quota of its own, of the key
    quota: str  # its name
    ends: int  # the window's end, seconds since the epoch
    used: int  # in millionths of the quota's unit


class QuotaTotal(NamedTuple):
    """The amount of a quota that a user or an API key has used in one window, as counted by several processes."""

    user_id: bytes  # as in QuotaUse
    quota: str
    ends: int
    used: int  # in millionths of the unit


class QuotaStore(Protocol):
    """The store of the amounts that all processes have counted as used, including processes that have ended."""

    async def save(self, uses: Sequence[QuotaUse]) -> None:
        """Store amounts, each in place of an earlier one with its id. A smaller amount never replaces a larger one."""

    async def totals(self, user_ids: Sequence[bytes], now: int, but: Sequence[bytes]) -> list[QuotaTotal]:
        """Return the totals in windows that end after ``now``, seconds since the epoch, without the amounts ``but``."""

    async def forget(self, now: int, limit: int) -> int:
        """Delete up to ``limit`` amounts whose windows ended by ``now``; return how many were deleted."""
