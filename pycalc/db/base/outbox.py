"""The interface of the outbox: recorded events that are not published yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pycalc.db.base.dead_letters import DeadLetter
from pycalc.models.history import HistoryRow


class OutboxRow(NamedTuple):
    """A recorded calculation whose event has to be published."""

    seq: int
    row: HistoryRow


class OutboxStore(Protocol):
    """Unpublished events, and the lease that lets one relay at a time publish them."""

    async def hold(self, owner: bytes, milliseconds: int) -> bool:
        """Acquire or renew the lease for ``milliseconds``; return False when another owner holds it."""

    async def release(self, owner: bytes) -> None:
        """Release the lease if ``owner`` holds it."""

    async def pending(self, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` of the oldest entries, in the order of their sequence numbers."""

    async def remove(self, seqs: Sequence[int]) -> None:
        """Delete published entries."""

    async def dead_letter(self, dead_letters: Mapping[int, DeadLetter]) -> None:
        """Replace the entries with these sequence numbers by dead letters, in one transaction."""

    async def backlog(self) -> int:
        """Return the number of unpublished entries."""
