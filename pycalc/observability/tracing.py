"""Traces: where a calculation's time goes, from the request to the consumer of its event (ADR 21).

What the code knows is the Tracer; OpenTelemetry stands behind one implementation, loaded when it is switched on.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from time import time_ns
from typing import Any, Protocol

Attribute = str | int | float | bool


class RequestSpan(Protocol):
    """The span of a request under way."""

    def end(self, route: str | None, status: int) -> None:
        """End it; ``route`` is the template that the path matched."""
        ...


class Tracer(Protocol):
    """Makes spans. Where a trace is not sampled it makes nothing."""

    # Whether there is anything to gain from preparing a span.
    on: bool

    def begin(self, scope: MutableMapping[str, Any], /) -> RequestSpan | None:
        """Begin the span of a request, within the trace that its ``traceparent`` names, and note it in the scope."""
        ...

    def span(self, name: str, /, **attributes: Attribute) -> AbstractContextManager[object]:
        """Return the span around a part of what this task does."""
        ...

    def record(
        self, name: str, began_ns: int, ended_ns: int, parent: str | None = None, **attributes: Attribute
    ) -> None:
        """Add a span that is over, by Unix time; ``parent``: a ``traceparent``, else what this task does."""
        ...

    def traceparent(self) -> str | None:
        """Return the ``traceparent`` of what this task does; None where no trace is sampled."""
        ...

    async def aclose(self) -> None:
        """Send what is left, and stop."""
        ...


# Around what is in no trace; one for all, for it holds nothing.
NO_SPAN: AbstractContextManager[object] = nullcontext()


class NoTracer:
    """Makes no spans."""

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
    """Return a tracer for a part of the service, the one that makes nothing unless it is wanted.

    Raises ValueError when it is wanted and the packages of the extra ``otel`` are not installed.
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
