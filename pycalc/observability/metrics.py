"""The metrics, in a registry of their own for each application: nothing is global."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Every metric that the service exports, by the name that the code uses."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        self.requests = Counter("http_requests", "Requests answered", ("route", "method", "status"), registry=registry)
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "From a request's arrival to the last byte of its answer",
            ("route", "method"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.calculations = Counter(
            "pycalc_calculations", "Calculations by operation and outcome", ("operation", "outcome"), registry=registry
        )
        self.compute_seconds = Histogram(
            "pycalc_compute_duration_seconds",
            "Computing and verifying one result",
            ("operation",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.compute_running = Gauge("pycalc_compute_running", "Computations in worker processes", registry=registry)
        self.compute_waiting = Gauge("pycalc_compute_waiting", "Computations waiting for a worker", registry=registry)
        self.compute_refused = Counter(
            "pycalc_compute_refused", "Computations refused because the queue was full", registry=registry
        )
        self.workers_lost = Counter(
            "pycalc_compute_workers_lost", "Worker processes that died while computing", registry=registry
        )
        self.results_mapped_bytes = Gauge(
            "pycalc_results_mapped_bytes", "Long results alive, being sent or cached", registry=registry
        )
        self.verification_failures = Counter(
            "pycalc_verification_failures", "Results that did not agree with their residue", registry=registry
        )

        self.cache_misses = Counter("pycalc_cache_misses", "Results that no cache had", registry=registry)
        self.cache_errors = Counter("pycalc_cache_errors", "Look-ups that a cache did not answer", registry=registry)
        self.cache_shared_hits = Counter(
            "pycalc_cache_shared_hits", "Results found in the cache that processes share", registry=registry
        )
        self.cache_damaged = Counter(
            "pycalc_cache_damaged", "Values in the shared cache that were not what was put there", registry=registry
        )
        self.cache_dropped = Counter(
            "pycalc_cache_dropped", "Results that were not put into the shared cache", ("reason",), registry=registry
        )
        self.cache_circuit = Gauge(
            "pycalc_cache_circuit", "The shared cache's breaker: 0 closed, 1 half-open, 2 open", registry=registry
        )
        self.cache_circuit_opened = Counter(
            "pycalc_cache_circuit_opened", "Times that the shared cache's breaker opened", registry=registry
        )
        self.flights_shared = Counter(
            "pycalc_flights_shared",
            "Expensive results: led (made here for all), handed (by another instance), late and alone (made here too)",
            ("outcome",),
            registry=registry,
        )
        self.cache_bytes = Gauge("pycalc_cache_bytes", "Size of the in-process cache", registry=registry)
        self.cache_entries = Gauge("pycalc_cache_entries", "Results in the in-process cache", registry=registry)

        self.commit_rows = Histogram(
            "pycalc_commit_rows", "Calculations in one commit", buckets=_ROWS, registry=registry
        )
        self.commit_seconds = Histogram(
            "pycalc_commit_duration_seconds", "One commit of the recorder", buckets=_SECONDS, registry=registry
        )
        self.recorder_rows = Gauge("pycalc_recorder_queue_rows", "Calculations waiting for a commit", registry=registry)
        self.recorder_bytes = Gauge("pycalc_recorder_queue_bytes", "Their size", registry=registry)
        self.recorder_refused = Counter(
            "pycalc_recorder_refused", "Calculations refused by the recorder", ("reason",), registry=registry
        )

        self.outbox_backlog = Gauge("pycalc_outbox_backlog", "Recorded events not yet published", registry=registry)
        self.relay_leading = Gauge(
            "pycalc_relay_leading", "Whether this process's relay is the one that publishes", registry=registry
        )
        self.events_published = Counter("pycalc_events_published", "Events taken by the stream", registry=registry)
        self.relay_failures = Counter(
            "pycalc_relay_failures", "Batches that the relay must try again", registry=registry
        )
        self.subscribers = Gauge("pycalc_event_subscribers", "Clients listening to events", registry=registry)
        self.subscribers_dropped = Counter(
            "pycalc_event_subscribers_dropped", "Clients dropped because they read too slowly", registry=registry
        )

        self.subscribers_refused = Counter(
            "pycalc_event_subscribers_refused", "Clients refused because too many follow events", registry=registry
        )

        self.hashes_waiting = Gauge(
            "pycalc_password_hashes_waiting", "Password hashes queued or running", registry=registry
        )
        self.hashes_refused = Counter(
            "pycalc_password_hashes_refused",
            "Logins and registrations refused because the queue was full",
            registry=registry,
        )
        self.rate_limited = Counter("pycalc_rate_limited", "Requests refused by a limit", ("limit",), registry=registry)
        self.limit_fallbacks = Counter(
            "pycalc_rate_limit_fallbacks",
            "Steps of a limit that counted in this process because the shared counters did not answer",
            ("limit",),
            registry=registry,
        )
        self.limit_keys = Gauge("pycalc_rate_limit_keys", "Counters kept for the limits", ("limit",), registry=registry)
        self.revocation_failures = Counter(
            "pycalc_revocation_read_failures", "Times that revocations could not be read", registry=registry
        )
        self.tokens_cached = Gauge("pycalc_tokens_cached", "Verified tokens kept", registry=registry)

    def render(self) -> bytes:
        """Return the text exposition of everything."""
        return generate_latest(self.registry)
