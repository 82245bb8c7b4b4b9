"""The metrics, in a registry of each application's own: no metric is global.

Each family of metrics is a class, and a service takes the family that it counts in. ``Metrics`` has all families.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from pycalc.observability.recent import Recent

CONTENT_TYPE = CONTENT_TYPE_LATEST

# The buckets of the histograms.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def _makers(registry: CollectorRegistry) -> tuple[partial[Counter], partial[Gauge], partial[Histogram]]:
    """Return functions that make a counter, a gauge and a histogram of a registry."""
    return partial(Counter, registry=registry), partial(Gauge, registry=registry), partial(Histogram, registry=registry)


class ServerMetrics:
    """Metrics of the server: processes, connections, requests and responses."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, histogram = _makers(registry)
        self.server_processes = gauge("pycalc_server_processes", "Server processes whose metrics are summed here")
        self.server_processes_lost = counter(
            "pycalc_server_processes_lost", "Server processes that ended and were replaced"
        )
        self.connections = gauge("pycalc_connections", "Open connections of clients")
        self.connections_cut = counter(
            "pycalc_connections_cut",
            "Connections ended by the server: too many of one address, or a client that reads too slowly",
            ("reason",),
        )
        self.requests = counter("http_requests", "Requests answered", ("route", "method", "status"))
        self.request_seconds = histogram(
            "http_request_duration_seconds",
            "Seconds from a request's arrival to the last byte of its response",
            ("route", "method"),
            buckets=_SECONDS,
        )
        self.requests_refused = counter(
            "pycalc_requests_refused", "Requests refused before any work was done for them", ("reason",)
        )
        self.response_bytes = gauge("pycalc_response_bytes", "Bytes of memory held by long responses in progress")
        self.responses_cut = counter("pycalc_responses_cut", "Responses ended because the client read too slowly")
        self.ids_ahead = gauge(
            "pycalc_ids_ahead_seconds",
            "Seconds that the newest ids are ahead of the clock, where over 5: a clock is or was wrong",
        )


class CalculationMetrics:
    """Metrics of calculations and of the worker processes that compute them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, histogram = _makers(registry)
        self.calculations = counter(
            "pycalc_calculations", "Calculations by operation and outcome", ("operation", "outcome")
        )
        self.calculations_under_way = gauge(
            "pycalc_calculations_under_way", "Small calculations and batches that hold a slot"
        )
        self.batched_calculations = gauge("pycalc_batched_calculations", "Calculations of the batches in progress")
        self.compute_seconds = histogram(
            "pycalc_compute_duration_seconds",
            "Seconds to compute and verify one result",
            ("operation",),
            buckets=_SECONDS,
        )
        self.compute_running = gauge("pycalc_compute_running", "Computations in worker processes")
        self.compute_waiting = gauge("pycalc_compute_waiting", "Computations waiting for a worker")
        self.compute_refused = counter(
            "pycalc_compute_refused",
            "Computations refused: queue full, displaced by a user with fewer queued, waited too long, out of memory",
            ("reason",),
        )
        self.workers_lost = counter("pycalc_compute_workers_lost", "Worker processes that died during a computation")
        self.workers_out_of_memory = counter(
            "pycalc_compute_workers_out_of_memory",
            "Worker processes stopped because a computation exceeded its memory limit",
        )
        self.verification_failures = counter(
            "pycalc_verification_failures", "Results that failed the check by residues"
        )


class CacheMetrics:
    """Metrics of the cache of results, in this process and shared."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, _ = _makers(registry)
        self.cache_misses = counter("pycalc_cache_misses", "Look-ups that found no result in any cache")
        self.cache_errors = counter("pycalc_cache_errors", "Look-ups that failed because a cache did not answer")
        self.cache_shared_hits = counter("pycalc_cache_shared_hits", "Results found in the shared cache")
        self.cache_damaged = counter(
            "pycalc_cache_damaged", "Values in the shared cache that failed their integrity check"
        )
        self.cache_dropped = counter("pycalc_cache_dropped", "Results not written to the shared cache", ("reason",))
        self.cache_circuit = gauge("pycalc_cache_circuit", "The shared cache's breaker: 0 closed, 1 half-open, 2 open")
        self.cache_circuit_opened = counter(
            "pycalc_cache_circuit_opened", "Times that the shared cache's breaker opened"
        )
        self.single_flights = counter(
            "pycalc_single_flight",
            "Expensive results: leader (computed here for all instances), shared (computed by another instance), "
            "timed_out (no longer waited for) and no_coordination (without Redis), both computed here too",
            ("outcome",),
        )
        self.cache_bytes = gauge("pycalc_cache_bytes", "Bytes in the in-process cache")
        self.cache_entries = gauge("pycalc_cache_entries", "Results in the in-process cache")


class HistoryMetrics:
    """Metrics of the database, the recorder, exports and retention."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, histogram = _makers(registry)
        self.commit_rows = histogram("pycalc_commit_rows", "Calculations in one commit of the recorder", buckets=_ROWS)
        self.commit_seconds = histogram(
            "pycalc_commit_duration_seconds", "Seconds for one commit of the recorder", buckets=_SECONDS
        )
        self.database_work = gauge("pycalc_database_work", "Database operations running or waiting", ("queue",))
        self.recorder_rows = gauge("pycalc_recorder_queue_rows", "Calculations waiting for a commit")
        self.recorder_bytes = gauge("pycalc_recorder_queue_bytes", "Bytes of the calculations waiting for a commit")
        self.recorder_refused = counter("pycalc_recorder_refused", "Calculations refused by the recorder", ("reason",))
        self.exports = gauge("pycalc_history_exports", "Exports of the history in progress")
        self.exports_refused = counter(
            "pycalc_history_exports_refused", "Exports refused because too many are in progress"
        )
        self.exports_cut = counter("pycalc_history_exports_cut", "Exports ended before they were complete", ("reason",))
        self.history_pruned = counter("pycalc_history_pruned", "Calculations deleted because of their age")


class EventMetrics:
    """Metrics of the relay, the stream, the usage consumer and the event feed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, histogram = _makers(registry)
        self.outbox_backlog = gauge("pycalc_outbox_backlog", "Recorded events not yet published")
        self.outbox_oldest_seconds = gauge(
            "pycalc_outbox_oldest_seconds", "Seconds since the oldest unpublished event was recorded"
        )
        self.relay_leading = gauge(
            "pycalc_relay_leading", "1 while the relay of this process holds the lease and publishes"
        )
        self.events_published = counter("pycalc_events_published", "Events accepted by the stream")
        self.relay_failures = counter("pycalc_relay_failures", "Batches that failed in the relay and are retried")
        self.dead_letters = counter("pycalc_dead_letters", "Events and messages dead-lettered", ("stage",))
        self.events_consumed = counter("pycalc_events_consumed", "Events counted in the usage totals")
        self.events_repeated = counter("pycalc_events_repeated", "Events delivered again, and not counted again")
        self.consumer_failures = counter(
            "pycalc_consumer_failures", "Failures after which the consumer retried or rejoined its group"
        )
        self.consumer_lag = histogram(
            "pycalc_consumer_lag_seconds",
            "Seconds from recording to counting, for the oldest calculation of each batch",
            buckets=_SECONDS,
        )
        self.stream_failures = counter("pycalc_stream_failures", "Failed calls to the stream", ("call",))
        self.events_refused = counter(
            "pycalc_events_refused", "Events that the stream refused for good, counted at every try"
        )
        self.subscribers = gauge("pycalc_event_subscribers", "Clients subscribed to the event feed")
        self.subscribers_dropped = counter(
            "pycalc_event_subscribers_dropped", "Subscribers dropped because they read too slowly"
        )
        self.subscribers_refused = counter(
            "pycalc_event_subscribers_refused", "Subscribers refused because of the limit"
        )


class AccountMetrics:
    """Metrics of passwords, keys, tokens, rate limits and the audit log."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, _ = _makers(registry)
        self.hashes_waiting = gauge("pycalc_password_hashes_waiting", "Password hashes queued or running")
        self.hashes_refused = counter(
            "pycalc_password_hashes_refused", "Logins and registrations refused because the queue was full"
        )
        self.rate_limited = counter("pycalc_rate_limited", "Requests refused by a limit", ("limit",))
        self.audit_suppressed = counter(
            "pycalc_audit_suppressed", "Refusals left out of the audit log because of its rate limit", ("caller",)
        )
        self.limit_fallbacks = counter(
            "pycalc_rate_limit_fallbacks",
            "Checks of a limit without the shared counters, which did not answer",
            ("limit",),
        )
        self.limit_keys = gauge("pycalc_rate_limit_keys", "Counters kept for the limits", ("limit",))
        self.revocation_failures = counter("pycalc_revocation_read_failures", "Failed reads of the revocations")
        self.keys_unreadable = gauge(
            "pycalc_key_file_unreadable", "1 while the file of the signing keys cannot be read"
        )
        self.lookups_refused = counter(
            "pycalc_credential_lookups_refused",
            "API keys and refresh tokens refused because too many look-ups were running",
            ("kind",),
        )
        self.keys_unknown = gauge("pycalc_unknown_keys", "API keys remembered as unknown")
        self.tokens_cached = gauge("pycalc_tokens_cached", "Verified tokens in the cache")


class Metrics(ServerMetrics, CalculationMetrics, CacheMetrics, HistoryMetrics, EventMetrics, AccountMetrics):
    """All metrics of the service, and their exposition for Prometheus."""

    def __init__(self, seconds: float = 1.0) -> None:
        """Register the metrics; one exposition is served for ``seconds``, as making it blocks the event loop 10 ms."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        ServerMetrics.__init__(self, registry)
        CalculationMetrics.__init__(self, registry)
        CacheMetrics.__init__(self, registry)
        HistoryMetrics.__init__(self, registry)
        EventMetrics.__init__(self, registry)
        AccountMetrics.__init__(self, registry)
        # With several server processes: returns the sums over all of them.
        self.of_all: Callable[[], Awaitable[bytes]] | None = None
        # Returns the exposition of the whole service in Prometheus' text format; raises Unavailable.
        self.exposition = Recent(self._exposition, seconds).get

    def render(self) -> bytes:
        """Return the metrics of this process in Prometheus' text format."""
        return generate_latest(self.registry)

    async def _exposition(self) -> bytes:
        return self.render() if self.of_all is None else await self.of_all()
