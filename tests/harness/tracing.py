"""A tracer that records spans for tests."""

from __future__ import annotations

from pycalc.observability.tracing import Attribute, Tracer


class RecordingTracer(Tracer):
    """A tracer that keeps the name and the parent of each finished span."""

    on = True

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str | None]] = []

    def record(
        self, name: str, began_ns: int, ended_ns: int, parent: str | None = None, **_attributes: Attribute
    ) -> None:
        self.recorded.append((name, parent))
