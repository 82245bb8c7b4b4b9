"""Constructors of metrics."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def constructors(registry: CollectorRegistry) -> tuple[partial[Counter], partial[Gauge], partial[Histogram]]:
    """Return constructors of counters, gauges and histograms of seconds, all registered in ``registry``."""
    histogram = partial(Histogram, registry=registry, buckets=_SECONDS)
    return partial(Counter, registry=registry), partial(Gauge, registry=registry), histogram
