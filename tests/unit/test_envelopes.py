"""Which messages are this service's events."""

from __future__ import annotations

import pytest

from pycalc.models.events import Event
from pycalc.streaming.envelope import event_of_message, headers_of

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
    """The CloudEvents attributes, each as the binding names it, and the media type of the body."""
    assert headers_of(EVENT, "ce_") == HEADERS
    assert set(headers_of(EVENT, "ce-")) == {name.replace("_", "-") for name in HEADERS}


def test_a_message_is_the_event_that_it_was_made_of() -> None:
    """Whatever more its headers say, and however they write the media type."""
    assert event_of_message(HEADERS, "ce_", b"{}") == EVENT
    more = {**HEADERS, "content-type": "Application/CloudEvents+JSON", "traceparent": "00-0-0-01", "ce_extension": "x"}
    assert event_of_message(more, "ce_", b"{}") == EVENT


@pytest.mark.parametrize(
    "change",
    [
        {"content-type": "application/json"},
        {"content-type": ""},
        {"ce_specversion": "0.3"},
        {"ce_type": "pycalc.operation.completed.v2"},
        {"ce_id": "7"},
        {"ce_id": ""},
        {"ce_subject": "ada"},
    ],
)
def test_a_foreign_message_is_no_event(change: dict[str, str]) -> None:
    """Another media type, version or type, and ids that are none."""
    assert event_of_message({**HEADERS, **change}, "ce_", b"{}") is None


@pytest.mark.parametrize("missing", ["content-type", "ce_specversion", "ce_type", "ce_id", "ce_subject"])
def test_a_message_without_its_attributes_is_no_event(missing: str) -> None:
    """Each of them is needed, and so is a body."""
    headers = {name: value for name, value in HEADERS.items() if name != missing}
    assert event_of_message(headers, "ce_", b"{}") is None
    assert event_of_message(HEADERS, "ce_", b"") is None
