"""The interface of the outbox: the events that are recorded but not yet published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pycalc.db.base.dead_letters import DeadLetter
from pycalc.models.history import HistoryRow


class OutboxRow(NamedTuple):
    """A recorded calculation whose event must be published."""

    seq: int
    row: HistoryRow


class OutboxStore(Protocol):
    """The unpublished events, and the lease that lets one relay at a time publish them."""

    async def hold(self, owner: bytes, milliseconds: int) -> bool:
        """Acquire or renew the lease for ``milliseconds``. Return False if another owner holds it."""

    async def release(self, owner: bytes) -> None:
        """Release the lease if ``owner`` holds it."""

    async def pending(self, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` of the oldest rows, in the order of their sequence numbers.

        Delete rows whose calculations no longer exist, instead of returning them.
        """

    async def remove(self, seqs: Sequence[int]) -> None:
        """Delete the rows with these sequence numbers, after their events were published."""

    async def dead_letter(self, dead_letters: Mapping[int, DeadLetter]) -> None:
        """Replace the rows with these sequence numbers by dead letters, in one transaction."""

    async def backlog(self) -> int:
        """Return the number of unpublished events."""


class RefillableOutbox(Protocol):
    """An outbox to which lost events can be added again."""

    async def refill(self, after: bytes, limit: int) -> tuple[int, bytes | None]:
        """Add the lost events of up to ``limit`` of the oldest calculations with ids above ``after``.

        An event is lost if it is neither in the outbox, nor counted in the usage totals, nor a dead letter. Return the
        number of added events, and the last examined id, or None if there was no calculation to examine.
        """
