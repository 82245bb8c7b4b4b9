"""Tracing with OpenTelemetry, exported as OTLP over HTTP. ``OTEL_*`` variables set target, sampling and name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import MutableMapping
from contextlib import AbstractContextManager, suppress
from threading import Thread
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pycalc import __version__
from pycalc.backoff import wait_until_set
from pycalc.observability.requests import LONGEST, METHODS, TraceContext, context_of, header
from pycalc.observability.tracing import NO_SPAN, Attribute, EndSpan, Tracer

_KINDS = {"publish": SpanKind.PRODUCER, "count": SpanKind.CONSUMER}
_CLOSE_SECONDS = 1.0
_PROPAGATOR = TraceContextTextMapPropagator()


def _context_in(traceparent: str) -> context.Context:
    """Return a context with the span in ``traceparent`` as its current span, or an empty one if the text is invalid."""
    return _PROPAGATOR.extract({"traceparent": traceparent}, context.Context())


def _context_of_span(span: Span) -> TraceContext:
    ids = span.get_span_context()
    return TraceContext(trace.format_trace_id(ids.trace_id), trace.format_span_id(ids.span_id), ids.trace_flags.sampled)


class OpenTelemetryTracer(Tracer):
    """A tracer that queues spans for a sending thread. If the queue is full, spans are dropped.

    All spans name ``part``, the part of the service that this process runs.
    """

    on = True

    def __init__(self, part: str) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME") or "pycalc"
        resource = Resource.create({"service.name": name, "service.version": __version__, "pycalc.part": part})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("pycalc", __version__)

    def begin(self, scope: MutableMapping[str, Any], /) -> EndSpan:
        method: str = scope["method"] if scope["method"] in METHODS else "HTTP"
        span = self._tracer.start_span(
            method,
            context=_context_in((header(scope, b"traceparent") or b"").decode("latin-1")),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": scope["path"][:LONGEST]},
        )
        context_of(scope).trace = _context_of_span(span)
        token = context.attach(trace.set_span_in_context(span))

        def end(route: str | None, status: int) -> None:
            if span.is_recording():
                span.set_attribute("http.response.status_code", status)
                if route is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
                if status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
                span.end()
            context.detach(token)

        return end

    def span(self, name: str, /, **attributes: Attribute) -> AbstractContextManager[object]:
        if not trace.get_current_span().is_recording():
            return NO_SPAN
        return self._tracer.start_as_current_span(name, attributes=attributes)

    def record(
        self, name: str, began_ns: int, ended_ns: int, parent: str | None = None, **attributes: Attribute
    ) -> None:
        within = context.get_current() if parent is None else _context_in(parent)
        if not trace.get_current_span(within).get_span_context().trace_flags.sampled:
            return
        kind = _KINDS.get(name, SpanKind.INTERNAL)
        self._tracer.start_span(name, within, kind, attributes, start_time=began_ns).end(ended_ns)

    def traceparent(self) -> str | None:
        span = trace.get_current_span()
        return _context_of_span(span).traceparent if span.is_recording() else None

    async def aclose(self) -> None:
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the event loop may be closed
                loop.call_soon_threadsafe(closed.set)

        Thread(target=close, name="tracing ends", daemon=True).start()
        await wait_until_set(closed, _CLOSE_SECONDS)
