"""Event envelopes: which messages of a broker are this service's events."""

from __future__ import annotations

import json

import pytest

from pycalc.models.events import Event
from pycalc.streaming.base import delivery_of, headers_of

EVENT = Event(
    bytes.fromhex("019aab127c0071238456426614174000"), bytes.fromhex("019aab127c0071238456426614174fff"), b"{}"
)
HEADERS = {
    "content-type": "application/cloudevents+json; charset=UTF-8",
    "ce_specversion": "1.0",
    "ce_id": "019aab12-7c00-7123-8456-426614174000",
    "ce_source": "/pycalc",
    "ce_type": "pycalc.operation.completed.v1",
    "ce_subject": "019aab12-7c00-7123-8456-426614174fff",
    "ce_time": "2025-11-22T10:18:26.688Z",
}


def test_an_event_s_headers() -> None:
    """An event's headers are its CloudEvents attributes, each with the broker's prefix, and its media type."""
    assert headers_of(EVENT, "ce_") == HEADERS
    assert set(headers_of(EVENT, "ce-")) == {name.replace("_", "-") for name in HEADERS}


def body(**changes: object) -> bytes:
    """Return an event's JSON with some attributes changed, or removed if None."""
    told = {name.removeprefix("ce_"): value for name, value in HEADERS.items()} | changes
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def test_a_message_is_the_event_that_it_was_made_of() -> None:
    """A message decodes to its event, also with extensions, without optional attributes, and with a trace."""
    for sent in (body(), body(extension="x", data={"n": 1}), body(traceparent=7), body(time=None, source=None)):
        assert delivery_of(sent, "").event == EVENT._replace(content=sent)
    traced = body(traceparent="00-0-0-01")
    assert delivery_of(traced, "").event == EVENT._replace(content=traced, traceparent="00-0-0-01")


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "0.3"},
        {"specversion": None},
        {"type": "pycalc.operation.completed.v2"},
        {"type": None},
        {"id": "7"},
        {"id": 7},
        {"id": None},
        {"subject": "ada"},
        {"subject": None},
    ],
)
def test_a_foreign_event_is_none_of_ours(change: dict[str, object]) -> None:
    """A message of another version or type, with an invalid id, or without a required attribute decodes to None."""
    assert delivery_of(body(**change), "").event is None


@pytest.mark.parametrize("sent", [b"", b"not an event", b"7", b"[]", b"null", b'"text"', b"{}", b"\xff", b"[" * 10_000])
def test_a_foreign_message_is_no_event(sent: bytes) -> None:
    """A body that is not JSON, or not an object with an event's attributes, decodes to None."""
    assert delivery_of(sent, "").event is None
