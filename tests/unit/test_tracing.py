"""Traces: how they are passed between processes, and how the service runs without them."""

from __future__ import annotations

import sys

import pytest

from pycalc.models.events import event_of
from pycalc.observability.tracing import NO_TRACER, Tracer, open_tracer
from pycalc.streaming.base import delivery_of, headers_of
from tests.harness.stores import history_row

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("prefix", ["ce_", "ce-"])
def test_a_message_carries_its_event_s_trace(prefix: str) -> None:
    """An event of a traced request has a traceparent in headers and body (CloudEvents' extension for tracing)."""
    event = event_of(history_row()._replace(traceparent=TRACEPARENT))
    headers = headers_of(event, prefix)
    assert headers[f"{prefix}traceparent"] == TRACEPARENT
    assert f'"traceparent":"{TRACEPARENT}"'.encode() in event.payload
    received = delivery_of(event.payload, "").event
    assert received is not None
    assert received.traceparent == TRACEPARENT
    untraced = event_of(history_row())
    assert f"{prefix}traceparent" not in headers_of(untraced, prefix)
    assert b"traceparent" not in untraced.payload


def test_without_the_packages_tracing_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """If tracing is on without its packages, the start is refused, and the error names the extra to install.

    If tracing is off, the packages are not needed.
    """
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "pycalc.observability.opentelemetry", raising=False)
    assert open_tracer("serve", wanted=False) is NO_TRACER
    with pytest.raises(ValueError, match=r"PYCALC_TRACING needs the packages of the extra otel"):
        open_tracer("serve", wanted=True)


@pytest.mark.anyio
async def test_no_tracer_makes_nothing() -> None:
    """The tracer for disabled tracing accepts every call of the real one."""
    tracer: Tracer = NO_TRACER
    assert tracer.begin({}) is None
    with tracer.span("record", rows=1):
        tracer.record("commit", 1, 2, TRACEPARENT, rows=1)
        assert tracer.traceparent() is None
    await tracer.aclose()
