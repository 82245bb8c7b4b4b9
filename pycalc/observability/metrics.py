"""The metrics, in a registry of their own for each application: nothing is global."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from pycalc.observability.recent import Recent

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Every metric that the service exports, by the name that the code uses."""

    def __init__(self, seconds: float = 1.0) -> None:
        """``seconds``: how old the exposition may be; making it takes the event loop some 10 ms."""
        self.exposition = Recent(self._exposition, seconds).get
        """Returns what the whole service exports, as Prometheus reads it; raises Unavailable."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        self.of_all: Callable[[], Awaitable[bytes]] | None = None
        """Returns what all processes of the service export, where there are several (ADR 21)."""
        self.server_processes = Gauge(
            "pycalc_server_processes", "Server processes that these metrics are the sums of", registry=registry
        )
        self.server_processes_lost = Counter(
            "pycalc_server_processes_lost", "Server processes that ended and were replaced", registry=registry
        )

        self.requests = Counter("http_requests", "Requests answered", ("route", "method", "status"), registry=registry)
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "From a request's arrival to the last byte of its answer",
            ("route", "method"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.connections = Gauge("pycalc_connections", "Connections of clients", registry=registry)
        self.connections_cut = Counter(
            "pycalc_connections_cut",
            "Connections ended: too many of one address, or a client that does not take what was sent",
            ("reason",),
            registry=registry,
        )
        self.requests_refused = Counter(
            "pycalc_requests_refused",
            "Requests refused before anything was done for them",
            ("reason",),
            registry=registry,
        )
        self.calculations_under_way = Gauge(
            "pycalc_calculations_under_way", "Small calculations, and batches, that hold a slot", registry=registry
        )
        self.batched_calculations = Gauge(
            "pycalc_batched_calculations", "Calculations of the batches under way", registry=registry
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
            "pycalc_compute_refused",
            "Computations refused: full queue, displaced by a user with less in it, long wait, no memory",
            ("reason",),
            registry=registry,
        )
        self.workers_lost = Counter(
            "pycalc_compute_workers_lost", "Worker processes that died while computing", registry=registry
        )
        self.workers_out_of_memory = Counter(
            "pycalc_compute_workers_out_of_memory",
            "Worker processes stopped because a computation needed more memory than it may take",
            registry=registry,
        )
        self.response_bytes = Gauge(
            "pycalc_response_bytes", "Memory of the long responses that are being made or sent", registry=registry
        )
        self.responses_cut = Counter(
            "pycalc_responses_cut", "Responses ended because the client read too slowly", registry=registry
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
        self.single_flights = Counter(
            "pycalc_single_flight",
            "Expensive results: leader (computed here for all instances), shared (computed by another instance), "
            "timed_out (no longer waited for) and no_coordination (without Redis), both computed here too",
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
        self.database_work = Gauge(
            "pycalc_database_work",
            "Work that the database does, or that waits for it",
            ("queue",),
            registry=registry,
        )
        self.recorder_rows = Gauge("pycalc_recorder_queue_rows", "Calculations waiting for a commit", registry=registry)
        self.recorder_bytes = Gauge("pycalc_recorder_queue_bytes", "Their size", registry=registry)
        self.recorder_refused = Counter(
            "pycalc_recorder_refused", "Calculations refused by the recorder", ("reason",), registry=registry
        )

        self.outbox_backlog = Gauge("pycalc_outbox_backlog", "Recorded events not yet published", registry=registry)
        self.outbox_oldest_seconds = Gauge(
            "pycalc_outbox_oldest_seconds", "Age of the oldest recorded event not yet published", registry=registry
        )
        self.relay_leading = Gauge(
            "pycalc_relay_leading", "Whether this process's relay is the one that publishes", registry=registry
        )
        self.events_published = Counter("pycalc_events_published", "Events taken by the stream", registry=registry)
        self.relay_failures = Counter(
            "pycalc_relay_failures", "Batches that the relay must try again", registry=registry
        )
        self.dead_letters = Counter(
            "pycalc_dead_letters", "Events and messages put aside", ("stage",), registry=registry
        )
        self.events_consumed = Counter(
            "pycalc_events_consumed", "Events counted in the usage totals", registry=registry
        )
        self.events_repeated = Counter(
            "pycalc_events_repeated", "Events that were delivered again, and not counted again", registry=registry
        )
        self.consumer_failures = Counter(
            "pycalc_consumer_failures",
            "Times that the consumer had to try again, or to join its group anew",
            registry=registry,
        )
        self.consumer_lag = Histogram(
            "pycalc_consumer_lag_seconds",
            "From the recording of a batch's oldest calculation to its being counted",
            buckets=_SECONDS,
            registry=registry,
        )
        self.stream_failures = Counter(
            "pycalc_stream_failures", "Calls that the stream did not answer as it should", ("call",), registry=registry
        )
        self.events_refused = Counter(
            "pycalc_events_refused", "Events that the stream will never take, each time it is asked", registry=registry
        )
        self.followers = Gauge("pycalc_event_followers", "Clients listening to events", registry=registry)
        self.followers_dropped = Counter(
            "pycalc_event_followers_dropped", "Clients dropped because they read too slowly", registry=registry
        )

        self.followers_refused = Counter(
            "pycalc_event_followers_refused", "Clients refused because too many follow events", registry=registry
        )

        self.exports = Gauge("pycalc_history_exports", "Exports of the history under way", registry=registry)
        self.exports_refused = Counter(
            "pycalc_history_exports_refused", "Exports refused because too many are under way", registry=registry
        )
        self.exports_cut = Counter(
            "pycalc_history_exports_cut", "Exports broken off before their end", ("reason",), registry=registry
        )
        self.history_pruned = Counter(
            "pycalc_history_pruned", "Calculations deleted because of their age", registry=registry
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
        self.audit_suppressed = Counter(
            "pycalc_audit_suppressed", "Refusals that were too many for the audit log", ("caller",), registry=registry
        )
        self.limit_fallbacks = Counter(
            "pycalc_rate_limit_fallbacks",
            "Steps of a limit that counted in this process, or nowhere, because the shared counters did not answer",
            ("limit",),
            registry=registry,
        )
        self.limit_keys = Gauge("pycalc_rate_limit_keys", "Counters kept for the limits", ("limit",), registry=registry)
        self.revocation_failures = Counter(
            "pycalc_revocation_read_failures", "Times that revocations could not be read", registry=registry
        )
        self.keys_unreadable = Gauge(
            "pycalc_key_file_unreadable", "Whether the file of the signing keys could not be read", registry=registry
        )
        self.lookups_refused = Counter(
            "pycalc_credential_lookups_refused",
            "API keys and refresh tokens refused because too many were being looked up",
            ("kind",),
            registry=registry,
        )
        self.keys_unknown = Gauge("pycalc_unknown_keys", "API keys remembered as unknown", registry=registry)
        self.ids_ahead = Gauge(
            "pycalc_ids_ahead_seconds",
            "How far the newest ids are ahead of the clock, if that is more than 5 s: a clock is or was wrong",
            registry=registry,
        )
        self.tokens_cached = Gauge("pycalc_tokens_cached", "Verified tokens kept", registry=registry)

    async def _exposition(self) -> bytes:
        return self.render() if self.of_all is None else await self.of_all()

    def render(self) -> bytes:
        """Return what this process exports, as Prometheus reads it."""
        return generate_latest(self.registry)
