"""Events as messages: structured CloudEvents, with the attributes beside the body as well.

The body is the whole event in the JSON format, the bytes that ``GET /events`` sends, and the content type says so. The
attributes stand in the message's headers too, as both bindings allow (Kafka §3.3.3, Google Pub/Sub §3.2.3), so that a
reader can route a message, and this service can recognize its own, without parsing the body.
"""

from __future__ import annotations

from collections.abc import Mapping

from pycalc.models.events import EVENT_SOURCE, EVENT_TYPE, Event
from pycalc.models.history import timestamp
from pycalc.models.ids import id_of_text, text_of_id, unix_ms_of_id

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
        f"{prefix}time": timestamp(unix_ms_of_id(event.id)),
        **({f"{prefix}traceparent": event.traceparent} if event.traceparent else {}),
    }


def event_of_message(headers: Mapping[str, str], prefix: str, body: bytes) -> Event | None:
    """Return the event that a message brings, or None where it is not one of this service's."""
    of_this_service = (
        headers.get("content-type", "").lower().startswith("application/cloudevents+json")
        and headers.get(f"{prefix}specversion") == _SPEC_VERSION
        and headers.get(f"{prefix}type") == EVENT_TYPE
    )
    if not of_this_service or not body:
        return None
    try:
        identity, subject = id_of_text(headers[f"{prefix}id"]), id_of_text(headers[f"{prefix}subject"])
        return Event(identity, subject, body, headers.get(f"{prefix}traceparent"))
    except (KeyError, ValueError):
        return None
