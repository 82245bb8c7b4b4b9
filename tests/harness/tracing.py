"""A tracer for tests: what it is given it keeps."""

from __future__ import annotations

from pycalc.observability.tracing import Attribute, NoTracer


class RecordingTracer(NoTracer):
    """Keeps the spans that are over: name and parent."""

    on = True

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str | None]] = []

    def record(
        self, name: str, began_ns: int, ended_ns: int, parent: str | None = None, **_attributes: Attribute
    ) -> None:
        """See Tracer."""
        self.recorded.append((name, parent))
