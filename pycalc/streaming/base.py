"""The interface of an event stream: publishing, and consuming in groups."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import NamedTuple, Protocol

from pydantic_core import from_json

from pycalc.models.events import EVENT_SOURCE, EVENT_TYPE, Event
from pycalc.models.formats import timestamp
from pycalc.models.ids import id_of_text, text_of_id

USAGE_GROUP = "usage"  # the group of the usage consumers
PUBLISH_SECONDS = 5.0  # the default time limit of ``Stream.publish``
RECEIVE_SECONDS = 1.0  # after this time ``Member.receive`` returns an empty batch
MAX_MESSAGES = 500  # the most messages of a batch
MAX_BYTES = 4 * 1024 * 1024  # a batch from Kafka ends with the message that makes it this large

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
_SPEC_VERSION = "1.0"


class Publisher(Protocol):
    """The publishing side of an event stream."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish events, and return when the stream has stored all of them.

        Raises StreamUnavailable, after at most PUBLISH_SECONDS, if it is not certain that all events are stored. For
        each key, no event after a missing one is then stored, unless the stream has refused an event of the batch. To
        keep the order, publish the same batch again before later events with these keys, possibly as duplicates.

        Raises EventsRefused for events that the stream will never accept, after it has stored all others.
        """

    async def ping(self) -> None:
        """Check that the stream can be used; raises StreamUnavailable if not."""

    async def aclose(self) -> None:
        """Close all connections."""


class Delivery(NamedTuple):
    """A message received from the stream."""

    event: Event | None  # None for a message that is not an event of this service
    raw: bytes  # the message's body if ``event`` is None, else empty
    origin: str  # the position in the stream, for log lines and dead letters


class MessageBatch(NamedTuple):
    """Messages in the order of the stream, and their position, which only ``Member.commit`` reads."""

    deliveries: Sequence[Delivery]
    position: object


class Member(Protocol):
    """A member of a consumer group. The members share the group's messages."""

    async def receive(self) -> MessageBatch:
        """Return the next messages, in order for each key, or an empty batch if none arrives in RECEIVE_SECONDS.

        Messages that are never committed are delivered again, to this member or another. Cancelling a call loses no
        message. Raises StreamUnavailable if the stream can't be read.
        """

    async def commit(self, batch: MessageBatch) -> None:
        """Mark a batch, and all earlier messages with the same keys, as processed.

        Earlier messages with other keys may stay uncommitted, so every batch must be committed. If another member has
        taken over the messages meanwhile, that member receives them again. Raises StreamUnavailable if the stream does
        not answer; the batch may then be delivered again.
        """


class Consumable(Protocol):
    """The consuming side of an event stream, on which each consumer group receives each message."""

    def consume(self, group: str) -> AbstractAsyncContextManager[Member]:
        """Return a context in which this process is a member of a group; raises StreamUnavailable.

        A new group begins with the oldest message that the stream has kept for it. Kafka keeps messages for any group,
        Pub/Sub from the creation of the group's subscription on, and the stream in memory from the first member on.
        When a member leaves, the others soon receive its uncommitted messages.
        """


class Stream(Publisher, Consumable, Protocol):
    """An event stream that delivers each event at least once.

    Events with the same key keep the order of publishing, except if the stream refuses an event of the same batch.
    """


def headers_of(event: Event, prefix: str) -> dict[str, str]:
    """Return the headers of an event's message. ``prefix`` is ``ce_`` for Kafka and ``ce-`` for Pub/Sub."""
    return {
        "content-type": CONTENT_TYPE,
        f"{prefix}specversion": _SPEC_VERSION,
        f"{prefix}id": text_of_id(event.id),
        f"{prefix}source": EVENT_SOURCE,
        f"{prefix}type": EVENT_TYPE,
        f"{prefix}subject": text_of_id(event.key),
        f"{prefix}time": timestamp(event.time_ms),
        **({f"{prefix}traceparent": event.traceparent} if event.traceparent else {}),
    }


def delivery_of(body: bytes, origin: str) -> Delivery:
    """Return the delivery of a message, without an event if the body is not an event of this service.

    ``origin`` is the message's position in the stream.
    """
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        document = from_json(body)
        if document["specversion"] == _SPEC_VERSION and document["type"] == EVENT_TYPE:
            traceparent = document.get("traceparent")
            traced = traceparent if isinstance(traceparent, str) else None
            event = Event(id_of_text(document["id"]), id_of_text(document["subject"]), body, traced)
            return Delivery(event, b"", origin)
    return Delivery(None, body, origin)
