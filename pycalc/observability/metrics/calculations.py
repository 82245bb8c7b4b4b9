"""The metrics of calculations and of the cache."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pycalc.observability.metrics.buckets import SECONDS_BUCKETS


class CalculationMetrics:
    """Metrics of calculations and of the worker processes that compute them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calculations = Counter(
            "pycalc_calculations", "Calculations by operation and outcome", ("operation", "outcome"), registry=registry
        )
        self.calculations_under_way = Gauge(
            "pycalc_calculations_under_way", "Small calculations and batches that hold a slot", registry=registry
        )
        self.batched_calculations = Gauge(
            "pycalc_batched_calculations", "Calculations of the batches in progress", registry=registry
        )
        self.compute_seconds = Histogram(
            "pycalc_compute_duration_seconds",
            "Seconds to compute and verify one result",
            ("operation",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.compute_running = Gauge("pycalc_compute_running", "Computations in worker processes", registry=registry)
        self.compute_waiting = Gauge("pycalc_compute_waiting", "Computations waiting for a worker", registry=registry)
        self.compute_refused = Counter(
            "pycalc_compute_refused",
            "Computations refused: queue full, displaced by a user with fewer queued, waited too long, out of memory",
            ("reason",),
            registry=registry,
        )
        self.workers_lost = Counter(
            "pycalc_compute_workers_lost", "Worker processes that died during a computation", registry=registry
        )
        self.workers_out_of_memory = Counter(
            "pycalc_compute_workers_out_of_memory",
            "Worker processes stopped because a computation exceeded its memory limit",
            registry=registry,
        )
        self.verification_failures = Counter(
            "pycalc_verification_failures", "Results that failed the check by residues", registry=registry
        )


class CacheMetrics:
    """Metrics of the cache of results, in this process and shared."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.cache_misses = Counter(
            "pycalc_cache_misses", "Look-ups that found no result in any cache", registry=registry
        )
        self.cache_errors = Counter(
            "pycalc_cache_errors", "Look-ups that failed because a cache did not answer", registry=registry
        )
        self.cache_shared_hits = Counter(
            "pycalc_cache_shared_hits", "Results found in the shared cache", registry=registry
        )
        self.cache_damaged = Counter(
            "pycalc_cache_damaged", "Values in the shared cache that failed their integrity check", registry=registry
        )
        self.cache_dropped = Counter(
            "pycalc_cache_dropped", "Results not written to the shared cache", ("reason",), registry=registry
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
        self.cache_bytes = Gauge("pycalc_cache_bytes", "Bytes in the in-process cache", registry=registry)
        self.cache_entries = Gauge("pycalc_cache_entries", "Results in the in-process cache", registry=registry)
