"""The metrics of calculations and of the cache."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from pycalc.observability.metrics.constructors import constructors


class CalculationMetrics:
    """Metrics of calculations and of the worker processes that compute them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, seconds = constructors(registry)
        self.calculations = counter("pycalc_calculations", "Calculations by outcome", ("operation", "outcome"))
        self.calculations_under_way = gauge("pycalc_calculations_under_way", "Small calculations and batches running")
        self.batched_calculations = gauge("pycalc_batched_calculations", "Calculations of the batches in progress")
        self.idempotency_keys = counter(
            "pycalc_idempotency_keys",
            "Requests with an idempotency key: first, replayed, or refused: running (the first has not ended), reused "
            "(another request's key), deleted (its calculations are)",
            ("outcome",),
        )
        self.idempotent_running = gauge("pycalc_idempotent_requests", "Requests with an idempotency key in progress")
        self.compute_seconds = seconds("pycalc_compute_duration_seconds", "Seconds to compute a result", ("operation",))
        self.compute_running = gauge("pycalc_compute_running", "Computations in worker processes")
        self.compute_waiting = gauge("pycalc_compute_waiting", "Computations waiting for a worker")
        self.compute_refused = counter(
            "pycalc_compute_refused",
            "Computations refused: queue (full), displaced (by a user with fewer), wait (too long), memory (none left)",
            ("reason",),
        )
        self.workers_lost = counter("pycalc_compute_workers_lost", "Worker processes that died during a computation")
        self.workers_out_of_memory = counter("pycalc_compute_workers_out_of_memory", "Workers stopped for their memory")
        self.verification_failures = counter("pycalc_verification_failures", "Results that failed the residue check")


class CacheMetrics:
    """Metrics of the result cache: this process's own tier and the shared one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, gauge, _ = constructors(registry)
        self.cache_misses = counter("pycalc_cache_misses", "Look-ups that found no result in any cache")
        self.cache_errors = counter("pycalc_cache_errors", "Look-ups that failed because a cache did not answer")
        self.cache_shared_hits = counter("pycalc_cache_shared_hits", "Results found in the shared cache")
        self.cache_damaged = counter("pycalc_cache_damaged", "Values in the shared cache that failed their check")
        self.cache_dropped = counter("pycalc_cache_dropped", "Results not written to the shared cache", ("reason",))
        self.cache_circuit = gauge("pycalc_cache_circuit", "The shared cache's breaker: 0 closed, 1 half-open, 2 open")
        self.cache_circuit_opened = counter("pycalc_cache_circuit_opened", "Openings of the shared cache's breaker")
        self.single_flights = counter(
            "pycalc_single_flight",
            "Expensive results: leader (computed here for all), shared (computed elsewhere), computed here too: "
            "timed_out (no longer waited for), no_coordination (without Redis)",
            ("outcome",),
        )
        self.cache_bytes = gauge("pycalc_cache_bytes", "Bytes in the in-process cache")
        self.cache_entries = gauge("pycalc_cache_entries", "Results in the in-process cache")
