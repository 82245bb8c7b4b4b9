"""The interface of the dead-letter store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class DeadLetter(NamedTuple):
    """An event that could not be delivered or read, or a message that is no event of this service."""

    number: int  # assigned by the database
    stage: str  # where the event failed: "relay" or "consumer"
    event_id: bytes | None  # None for a message that is not an event of this service
    origin: str  # the position in the stream, or "outbox" for the relay's
    reason: str
    payload: bytes
    created_ms: int  # since the epoch


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
