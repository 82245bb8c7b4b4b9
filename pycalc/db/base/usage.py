"""The interface of the usage totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pycalc.models.usage import Total, Use


class UsageFilter(NamedTuple):
    """A selection of usage totals; a field that is None selects all. Days are counted from 1970-01-01."""

    user_ids: tuple[bytes, ...] | None = None
    since: int | None = None  # inclusive
    until: int | None = None  # exclusive


class UsageStore(Protocol):
    """Usage totals by user, day and operation."""

    async def count(self, uses: Sequence[Use]) -> int:
        """Add the uses whose event ids are new, in one transaction; return how many were new.

        Raises Conflict, and adds nothing, if another consumer counts some of them at the same time; then try again.
        """

    async def forget(self, before: bytes, limit: int) -> int:
        """Delete the ids of up to ``limit`` counted events, those below ``before``; return how many were deleted.

        If such an event is delivered again, it counts a second time.
        """

    async def totals(self, selection: UsageFilter, limit: int) -> list[Total]:
        """Return up to ``limit`` sums by day and operation, newest day first."""
