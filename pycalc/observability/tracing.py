"""Distributed tracing of a calculation, from its request to the consumer of its event.

The OpenTelemetry implementation is imported only if tracing is switched on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from time import time_ns
from typing import Any

Attribute = str | int | float | bool
# Ends a request's span, given the path template that matched (None without one) and the status.
EndSpan = Callable[[str | None, int], None]
# One shared instance: it has no state.
NO_SPAN: AbstractContextManager[object] = nullcontext()


class Tracer:
    """A tracer that does nothing, and the base class of tracers that record the spans of sampled traces."""

    on = False  # False if no span is ever recorded; callers then skip the preparation

    def begin(self, _scope: MutableMapping[str, Any], /) -> EndSpan | None:
        """Begin the span of a request, put its trace into the RequestContext, and return the function that ends it.

        A ``traceparent`` header names the parent. None means that this tracer records no spans.
        """
        return None

    def span(self, _name: str, /, **_attributes: Attribute) -> AbstractContextManager[object]:
        """Return a context manager that records a child of the current span, if the current span itself is recorded."""
        return NO_SPAN

    def record(
        self, name: str, began_ns: int, ended_ns: int, parent: str | None = None, **attributes: Attribute
    ) -> None:
        """Record a finished span, with times in Unix nanoseconds.

        ``parent`` is the ``traceparent`` of the parent span, or None for the current span.
        """

    def traceparent(self) -> str | None:
        """Return the ``traceparent`` of the current span, or None if the trace is not sampled."""
        return None

    async def aclose(self) -> None:
        """Send the remaining spans, for at most 1 s, then stop."""


NO_TRACER = Tracer()


def record_each(
    tracer: Tracer, name: str, traceparents: Iterable[str | None], began_ns: int, attributes: dict[str, Attribute]
) -> None:
    """Record a span that ends now as a child of each span in ``traceparents``. None and duplicates are skipped."""
    if tracer.on:
        ended_ns = time_ns()
        for traceparent in dict.fromkeys(filter(None, traceparents)):
            tracer.record(name, began_ns, ended_ns, traceparent, **attributes)


def open_tracer(part: str, *, wanted: bool) -> Tracer:
    """Return a tracer, or NO_TRACER if it is not ``wanted``. Raises ValueError if the extra ``otel`` is missing."""
    if not wanted:
        return NO_TRACER
    try:
        from pycalc.observability.opentelemetry import OpenTelemetryTracer
    except ImportError as error:
        message = "PYCALC_TRACING needs the packages of the extra otel: pip install '.[otel]' in the repository"
        raise ValueError(f"{message} ({error})") from error
    return OpenTelemetryTracer(part)
