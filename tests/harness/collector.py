"""A collector of traces for OpenTelemetry's exporters: OTLP over HTTP, on a free port of 127.0.0.1."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan


class Span(NamedTuple):
    """A received span; its ids are hexadecimal, and ``parent`` is empty for the root of a trace."""

    name: str
    part: str
    trace_id: str
    span_id: str
    parent: str
    kind: int
    attributes: dict[str, str | int]
    seconds: float


def _span(part: str, wire: WireSpan) -> Span:
    attributes: dict[str, str | int] = {
        each.key: each.value.int_value if each.value.HasField("int_value") else each.value.string_value
        for each in wire.attributes
    }
    seconds = (wire.end_time_unix_nano - wire.start_time_unix_nano) / 1e9
    ids = (wire.trace_id.hex(), wire.span_id.hex(), wire.parent_span_id.hex())
    return Span(wire.name, part, *ids, wire.kind, attributes, seconds)


class Collector:
    """The spans received so far."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.port = 0

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables that make a process send its spans to this collector with little delay."""
        return {
            "PYCALC_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def trace(self, trace_id: str) -> dict[str, Span]:
        """Return the spans of one trace by name; if several spans have the same name, the last one counts."""
        return {span.name: span for span in self.spans if span.trace_id == trace_id}

    def take(self, body: bytes) -> None:
        """Keep the spans of one export request."""
        for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {each.key: each.value.string_value for each in of_process.resource.attributes}
            for scope in of_process.scope_spans:
                self.spans += [_span(resource["pycalc.part"], span) for span in scope.spans]


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector."""
    collected = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collected.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Suppress the server's log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collected.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collected
        finally:
            server.shutdown()
            thread.join()
