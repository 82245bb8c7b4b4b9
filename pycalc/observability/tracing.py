"""Traces of a calculation's time, from the request to the consumer of its event.

The code uses the ``Tracer`` protocol. Its OpenTelemetry implementation is imported only when tracing is switched on.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from time import time_ns
from typing import Any, Protocol

Attribute = str | int | float | bool


class RequestSpan(Protocol):
    """The span of a request in progress."""

    def end(self, route: str | None, status: int) -> None:
        """End the span; ``route`` is the path template that matched, None without one."""


class Tracer(Protocol):
    """A maker of spans for sampled traces; for other traces its methods do nothing."""

    on: bool  # False when no span is ever made, so that callers skip the preparation

    def begin(self, scope: MutableMapping[str, Any], /) -> RequestSpan | None:
        """Begin the span of a request, within the trace that its ``traceparent`` names, and note it in the scope."""

    def span(self, name: str, /, **attributes: Attribute) -> AbstractContextManager[object]:
        """Return a context manager that records a child span of the current span."""

    def record(
        self, name: str, began_ns: int, ended_ns: int, parent: str | None = None, **attributes: Attribute
    ) -> None:
        """Add a finished span; times are Unix nanoseconds; ``parent`` is a ``traceparent``, or the current span."""

    def traceparent(self) -> str | None:
        """Return the ``traceparent`` of the current span; None where the trace is not sampled."""

    async def aclose(self) -> None:
        """Send the remaining spans, and stop."""


# One shared instance: it has no state.
NO_SPAN: AbstractContextManager[object] = nullcontext()


class NoTracer:
    """The tracer that makes no spans, for a service without tracing."""

    on = False

    def begin(self, _scope: MutableMapping[str, Any], /) -> None:
        pass

    def span(self, _name: str, /, **_attributes: Attribute) -> AbstractContextManager[object]:
        return NO_SPAN

    def record(
        self, name: str, began_ns: int, ended_ns: int, parent: str | None = None, **attributes: Attribute
    ) -> None:
        pass

    def traceparent(self) -> str | None:
        return None

    async def aclose(self) -> None:
        pass


NO_TRACER = NoTracer()


def record_each(tracer: Tracer, name: str, operation: str, traceparents: Iterable[str | None], began_ns: int) -> None:
    """Record a span that ends now once in each of the traces; ``operation`` is OpenTelemetry's messaging operation."""
    ended_ns = time_ns()
    for traceparent in dict.fromkeys(filter(None, traceparents)):
        tracer.record(name, began_ns, ended_ns, traceparent, **{"messaging.operation.type": operation})


def open_tracer(part: str, *, wanted: bool) -> Tracer:
    """Return a tracer for a part of the service; ``NO_TRACER`` unless tracing is ``wanted``.

    Raises ValueError when tracing is wanted but the extra ``otel`` is not installed.
    """
    if not wanted:
        return NO_TRACER
    try:
        module = import_module("pycalc.observability.opentelemetry")
    except ImportError as error:
        message = "PYCALC_TRACING needs the packages of the extra otel: pip install '.[otel]' in the repository"
        raise ValueError(f"{message} ({error})") from error
    tracer: Tracer = module.OpenTelemetryTracer(part)
    return tracer
