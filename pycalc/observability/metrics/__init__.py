"""Prometheus metrics, in a separate registry for each application: no metric is global.

Each topic has a class with its metrics, and ``Metrics`` inherits from all of them. Most services need only one class.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from pycalc.observability.metrics.accounts import AccountMetrics
from pycalc.observability.metrics.calculations import CacheMetrics, CalculationMetrics
from pycalc.observability.metrics.events import EventMetrics
from pycalc.observability.metrics.history import HistoryMetrics
from pycalc.observability.metrics.server import ServerMetrics
from pycalc.observability.recent import Recent

__all__ = [
    "CONTENT_TYPE",
    "AccountMetrics",
    "CacheMetrics",
    "CalculationMetrics",
    "EventMetrics",
    "HistoryMetrics",
    "Metrics",
]


class Metrics(ServerMetrics, CalculationMetrics, CacheMetrics, HistoryMetrics, EventMetrics, AccountMetrics):
    """All metrics of the service, and their exposition for Prometheus."""

    def __init__(self, seconds: float = 1.0) -> None:
        """Register the metrics. Cache the rendered text for ``seconds``, because rendering blocks the event loop."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        for topic in (ServerMetrics, CalculationMetrics, CacheMetrics, HistoryMetrics, EventMetrics, AccountMetrics):
            topic.__init__(self, registry)
        # Returns the sums of the metrics of all server processes; None if there is only this process.
        self.of_all: Callable[[], Awaitable[bytes]] | None = None
        # Returns the metrics of all server processes in Prometheus' text format; raises Unavailable.
        self.exposition = Recent(self._exposition, seconds).get

    def render(self) -> bytes:
        """Return the metrics of this process in Prometheus' text format."""
        return generate_latest(self.registry)

    async def _exposition(self) -> bytes:
        return self.render() if self.of_all is None else await self.of_all()
