"""Readers of a running service's Prometheus metrics."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(client.get("/metrics").raise_for_status().text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def computed(client: httpx.Client, **labels: str) -> float:
    """Return how many results the service has computed; cached results do not count."""
    return metric(client, "pycalc_compute_duration_seconds_count", **labels)
