"""The metrics of the server."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from pycalc.observability.metrics.constructors import constructors


class ServerMetrics:
    """Metrics of the server: processes, connections, requests and responses."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, seconds = constructors(registry)
        self.server_processes = gauge("pycalc_server_processes", "Server processes whose metrics are summed here")
        self.server_processes_lost = counter("pycalc_server_processes_lost", "Server processes that were replaced")
        self.connections = gauge("pycalc_connections", "Open connections of clients")
        self.connections_cut = counter(
            "pycalc_connections_cut", "Connections ended: address (has too many), slow (reader)", ("reason",)
        )
        self.requests = counter("http_requests", "Requests answered", ("route", "method", "status"))
        self.request_seconds = seconds(
            "http_request_duration_seconds", "Seconds from arrival to last byte", ("route", "method")
        )
        self.requests_refused = counter(
            "pycalc_requests_refused",
            "Requests refused: overload (calculations), batches, memory (responses), database (of one client)",
            ("reason",),
        )
        self.response_bytes = gauge("pycalc_response_bytes", "Bytes of memory that long responses in progress use")
        self.responses_cut = counter("pycalc_responses_cut", "Responses ended because the client read too slowly")
        self.ids_ahead = gauge("pycalc_ids_ahead_seconds", "Newest ids ahead of the clock, if over 5: a clock is wrong")
        # ``labels`` costs more than counting, so its results are kept.
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request and the seconds that it took. ``route`` is the template of its path."""
        try:
            counter, histogram = self._answered[route, method, status]
        except KeyError:
            counter = self.requests.labels(route, method, str(status))
            histogram = self.request_seconds.labels(route, method)
            self._answered[route, method, status] = counter, histogram
        counter.inc()
        histogram.observe(seconds)
