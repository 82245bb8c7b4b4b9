"""What the services know of an event stream: it takes events, and may be consumed (ADR 14)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, runtime_checkable

from pycalc.models.events import Event

USAGE_GROUP = "usage"
"""The group that counts. Where a broker keeps messages for known groups only, it knows this one from the beginning."""
PUBLISH_SECONDS = 5.0
"""Within which a batch is taken or StreamUnavailable raised."""
RECEIVE_SECONDS = 1.0
"""After which ``receive`` returns an empty batch."""
MAX_MESSAGES = 500
MAX_BYTES = 4 * 1024 * 1024
"""Bounds of what ``receive`` returns; one message may be larger than all of them should be."""


class Stream(Protocol):
    """Takes events at least once; those of one key arrive in the order in which they were published."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all of the events are taken for good.

        What is taken of a key is a prefix of its events in the batch, and may be taken again: who publishes the same
        batch again after a failure, before any later event of its keys, keeps the order in which each event is first
        seen. Raises StreamUnavailable, at most PUBLISH_SECONDS later, when some may not be taken, and EventsRefused,
        after all the others are taken, for those that never will be.
        """
        ...

    async def ping(self) -> None:
        """Return when the stream answers; raises StreamUnavailable otherwise."""
        ...

    async def aclose(self) -> None:
        """Let go of the stream."""
        ...


class Delivery(NamedTuple):
    """One message as it arrived."""

    event: Event | None
    """None where it is no event of this service."""
    raw: bytes
    """What arrived, where that is no event."""
    origin: str
    """Where it stands in the stream, for people."""


class Batch(NamedTuple):
    """Messages in the order of the stream; ``position`` is the stream's own."""

    deliveries: Sequence[Delivery]
    position: object


class Member(Protocol):
    """One of a group that share the messages of a stream; it deals with its batches one after the other."""

    async def receive(self) -> Batch:
        """Return the next messages, in order for each key; empty when there are none for RECEIVE_SECONDS.

        Messages that were not committed come again, to this member or to another: at least once. A call that is
        cancelled loses nothing. Raises StreamUnavailable.
        """
        ...

    async def commit(self, batch: Batch) -> None:
        """Say that a batch is dealt with, all of it, and those before it.

        Where the group has moved on and given the messages to another member, they simply come again, there. Raises
        StreamUnavailable when the stream does not answer: the batch may come again then, too.
        """
        ...


@runtime_checkable
class Consumable(Protocol):
    """A stream whose messages can be consumed by groups: each group sees each message."""

    def consume(self, group: str) -> AbstractAsyncContextManager[Member]:
        """Join a group, which begins with the oldest message that the stream has when the group is new.

        Leaving gives what is not committed to the other members at once; raises StreamUnavailable.
        """
        ...
