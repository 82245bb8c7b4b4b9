"""The interface of the store of usage totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pycalc.models.usage import Total, Use


class UsageFilter(NamedTuple):
    """A filter of usage totals; a field that is None does not filter. Days are counted from 1970-01-01."""

    user_ids: tuple[bytes, ...] | None = None
    since: int | None = None  # inclusive
    until: int | None = None  # exclusive


class UsageStore(Protocol):
    """The usage totals by user, day and operation."""

    async def count(self, uses: Sequence[Use]) -> int:
        """Add one or more calculations to the totals, except those counted before. Return how many were added."""

    async def forget(self, before: bytes, limit: int) -> int:
        """Delete up to ``limit`` ids of counted events below ``before``, which could count again; return how many."""

    async def totals(self, selection: UsageFilter, limit: int) -> list[Total]:
        """Return up to ``limit`` totals by day and operation, summed over the selected users, newest day first."""
