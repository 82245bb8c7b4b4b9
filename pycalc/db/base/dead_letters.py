"""The interface of the dead-letter store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class DeadLetter(NamedTuple):
    """An event that could not be delivered, or a broker message that is not an event."""

    number: int
    stage: str  # where the event failed: "relay" or "consumer"
    event_id: bytes | None  # None for a message that is not an event of this service
    origin: str
    reason: str
    payload: bytes
    created_ms: int


class DeadLetterStore(Protocol):
    """The store of undeliverable events, which stay until an admin requeues or discards them."""

    async def put(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Add dead letters, to which the database assigns numbers."""

    async def page(self, after: int, limit: int) -> list[DeadLetter]:
        """Return up to ``limit`` dead letters with numbers above ``after``, in ascending order."""

    async def requeue(self, number: int) -> bool:
        """Move the event of a dead letter back into the outbox. Return False if this is impossible.

        It is impossible if the dead letter does not exist or is not an event, or if the event's history row was
        deleted.
        """

    async def discard(self, number: int) -> bool:
        """Delete a dead letter; return whether it existed."""

    async def size(self) -> int:
        """Return the number of dead letters."""
