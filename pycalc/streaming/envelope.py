"""The messages that carry events: CloudEvents in structured mode.

The body is the whole event in the JSON format, the same bytes that ``GET /events`` sends. The headers repeat its
attributes, as CloudEvents allows (Kafka binding §3.3.3, Google Pub/Sub binding §3.2.3), so that a reader can route a
message without parsing it. This service reads no headers, because a header name that is not UTF-8 makes the driver
abort.
"""

from __future__ import annotations

from contextlib import suppress

from pydantic_core import from_json

from pycalc.models.events import EVENT_SOURCE, EVENT_TYPE, Event
from pycalc.models.ids import id_of_text, text_of_id
from pycalc.models.times import timestamp
from pycalc.streaming.base import Delivery

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
_SPEC_VERSION = "1.0"


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
