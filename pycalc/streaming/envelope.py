"""Events as messages: structured CloudEvents, with the attributes beside the body as well.

The body is the whole event in the JSON format, the bytes that ``GET /events`` sends, and the content type says so. The
attributes stand in the message's headers too, as both bindings allow (Kafka §3.3.3, Google Pub/Sub §3.2.3), so that a
reader can route a message without parsing the body. This service reads the body and no headers: Kafka's may have names
that are no text, at which the driver ends the process.
"""

from __future__ import annotations

from pydantic_core import from_json

from pycalc.models.events import EVENT_SOURCE, EVENT_TYPE, Event
from pycalc.models.ids import id_of_text, text_of_id
from pycalc.models.times import timestamp

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
_SPEC_VERSION = "1.0"


def headers_of(event: Event, prefix: str) -> dict[str, str]:
    """Return a message's headers; ``prefix`` is the binding's: ``ce_`` in Kafka, ``ce-`` in Pub/Sub."""
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


def event_of_message(body: bytes) -> Event | None:
    """Return the event that a message brings, or None where it is not one of this service's."""
    try:
        told = from_json(body)
        if told["specversion"] != _SPEC_VERSION or told["type"] != EVENT_TYPE:
            return None
        traceparent = told.get("traceparent")
        traced = traceparent if isinstance(traceparent, str) else None
        return Event(id_of_text(told["id"]), id_of_text(told["subject"]), body, traced)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
