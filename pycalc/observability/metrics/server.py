"""The metrics of the server."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pycalc.observability.metrics.buckets import SECONDS_BUCKETS


class ServerMetrics:
    """Metrics of the server: processes, connections, requests and responses."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.server_processes = Gauge(
            "pycalc_server_processes", "Server processes whose metrics are summed here", registry=registry
        )
        self.server_processes_lost = Counter(
            "pycalc_server_processes_lost", "Server processes that ended and were replaced", registry=registry
        )
        self.connections = Gauge("pycalc_connections", "Open connections of clients", registry=registry)
        self.connections_cut = Counter(
            "pycalc_connections_cut",
            "Connections ended by the server: too many of one address, or a client that reads too slowly",
            ("reason",),
            registry=registry,
        )
        self.requests = Counter("http_requests", "Requests answered", ("route", "method", "status"), registry=registry)
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "Seconds from a request's arrival to the last byte of its response",
            ("route", "method"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.requests_refused = Counter(
            "pycalc_requests_refused",
            "Requests refused before any work was done for them",
            ("reason",),
            registry=registry,
        )
        self.response_bytes = Gauge(
            "pycalc_response_bytes", "Bytes of memory held by long responses in progress", registry=registry
        )
        self.responses_cut = Counter(
            "pycalc_responses_cut", "Responses ended because the client read too slowly", registry=registry
        )
        self.ids_ahead = Gauge(
            "pycalc_ids_ahead_seconds",
            "Seconds that the newest ids are ahead of the clock, where over 5: a clock is or was wrong",
            registry=registry,
        )
