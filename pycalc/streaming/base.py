"""The interface of an event stream: publishing, and consuming in groups."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, runtime_checkable

from pycalc.models.events import Event

# The group of the usage consumers. Pub/Sub keeps messages only for groups that exist, so its topic is created with this
# one.
USAGE_GROUP = "usage"
# The time limit of ``Stream.publish``.
PUBLISH_SECONDS = 5.0
# The time after which ``Member.receive`` returns an empty batch.
RECEIVE_SECONDS = 1.0
# The size of a batch; a single message may be larger than MAX_BYTES.
MAX_MESSAGES = 500
MAX_BYTES = 4 * 1024 * 1024


class Stream(Protocol):
    """An event stream that delivers at least once, and in the order of publishing for each key."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish events; return when the stream has stored all of them.

        Raises StreamUnavailable, after at most PUBLISH_SECONDS, when some events may not be stored. For each key, the
        stored events are then a prefix of those in the batch. To keep the order, publish the same batch again before
        any later event of its keys; consumers may see duplicates. Raises EventsRefused for events that the stream
        will never accept, after all the others are stored.
        """
        ...

    async def ping(self) -> None:
        """Check that the stream can be used; raises StreamUnavailable if not."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class Delivery(NamedTuple):
    """A message received from the stream."""

    # None for a message that is not an event of this service.
    event: Event | None
    # The message's body where ``event`` is None, else empty.
    raw: bytes
    # The position in the stream, for log lines.
    origin: str


class Batch(NamedTuple):
    """Messages in the order of the stream; ``position`` is for the stream alone."""

    deliveries: Sequence[Delivery]
    position: object


class Member(Protocol):
    """A member of a consumer group, which shares the messages of a stream; it processes one batch at a time."""

    async def receive(self) -> Batch:
        """Return the next messages, in order for each key; an empty batch when none arrive for RECEIVE_SECONDS.

        Messages that are not committed are delivered again, to this member or another. Cancelling a call loses no
        message. Raises StreamUnavailable.
        """
        ...

    async def commit(self, batch: Batch) -> None:
        """Mark a batch, and all batches before it, as processed.

        If the group has given the messages to another member meanwhile, they are delivered again there. Raises
        StreamUnavailable when the stream does not answer; the batch may then be delivered again.
        """
        ...


@runtime_checkable
class Consumable(Protocol):
    """A stream with consumer groups: each group receives each message."""

    def consume(self, group: str) -> AbstractAsyncContextManager[Member]:
        """Join a group; a new group begins with the oldest message of the stream.

        Leaving hands uncommitted messages to the other members at once. Raises StreamUnavailable.
        """
        ...
