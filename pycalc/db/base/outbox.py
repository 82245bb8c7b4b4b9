"""The interfaces of the outbox, with the events to be published, and of the dead letters, which could not be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pycalc.models.history import HistoryRow


class OutboxRow(NamedTuple):
    """A recorded calculation whose event must be published."""

    seq: int
    row: HistoryRow


class DeadLetter(NamedTuple):
    """An event that could not be delivered or read, or a message that is no event of this service."""

    number: int  # assigned by the database
    stage: str  # where the event failed: "relay" or "consumer"
    event_id: bytes | None  # None for a message that is not an event of this service
    origin: str  # the position in the stream, or "outbox" for the relay's
    reason: str
    payload: bytes
    created_ms: int  # since the epoch


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

    async def refill(self, after: bytes, limit: int) -> tuple[int, bytes | None]:
        """Add the lost events of up to ``limit`` of the oldest calculations with ids above ``after``.

        An event is lost if it is neither in the outbox, nor counted in the usage totals, nor a dead letter. Return the
        number of added events, and the last examined id, or None if there was no calculation to examine.
        """


class DeadLetterStore(Protocol):
    """The store of dead letters, which stay until an admin requeues or discards them."""

    async def put(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Add dead letters. Their numbers are ignored, because the database assigns new ones."""

    async def page(self, after: int, limit: int) -> list[DeadLetter]:
        """Return up to ``limit`` dead letters with numbers above ``after``, in ascending order."""

    async def requeue(self, number: int) -> bool:
        """Move a dead letter's event back into the outbox. Return False if it or its history row does not exist."""

    async def discard(self, number: int) -> bool:
        """Delete a dead letter; return whether it existed."""

    async def size(self) -> int:
        """Return the number of dead letters."""
