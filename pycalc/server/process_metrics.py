"""The metrics of several server processes, summed so that they look like the metrics of one process (ADR 21).

The process that a client asks for metrics requests them from the supervisor, which requests them from all processes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from operator import add

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from pycalc.errors import Unavailable
from pycalc.observability.metrics import Metrics
from pycalc.observability.recent import Recent
from pycalc.server.supervisor_channel import SupervisorChannel

_PROCESS_SECONDS = 1.0
_CUMULATIVE = {"counter", "histogram", "summary"}
# Gauges of which the maximum counts: all processes have the same value, or the worst value matters. The maximum counts
# for all gauges in seconds too.
_MAXIMUM = {
    "process_max_fds",
    "process_open_fds",
    "pycalc_cache_circuit",
    "pycalc_key_file_unreadable",
    "pycalc_outbox_backlog",
    "python_info",
}
_MINIMUM = {"process_start_time_seconds"}


class Totals:
    """A Prometheus collector that combines the metrics of several processes, empty at first."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[Metric, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}

    def add(self, exposition: bytes, *, ended: bool = False) -> None:
        """Add metrics in Prometheus' text format; of a process that has ``ended``, only what is cumulative.

        Metrics are summed, except for some gauges, of which the maximum or the minimum is taken.
        """
        for family in text_string_to_metric_families(exposition.decode()):
            # The times at which the series of a counter began are a family of their own, whose type is gauge.
            created = family.type == "gauge" and family.name.endswith("_created")
            if ended and family.type not in _CUMULATIVE and not created:
                continue
            combine: Callable[[float, float], float] = add
            if family.name in _MINIMUM or created:
                combine = min
            elif family.type not in _CUMULATIVE and (family.name in _MAXIMUM or family.name.endswith("_seconds")):
                combine = max
            empty = Metric(family.name, family.documentation, family.type)
            _, values = self._families.setdefault(family.name, (empty, {}))
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                values[key] = combine(values[key], sample.value) if key in values else sample.value

    def collect(self) -> Iterator[Metric]:
        """Yield the combined metric families, as prometheus_client requires of a collector."""
        for family, values in self._families.values():
            family.samples = [Sample(name, dict(labels), value) for (name, labels), value in values.items()]
            yield family

    def render(self) -> bytes:
        """Return the combined metrics of all added processes, in Prometheus' text format."""
        return generate_latest(self)


class ProcessMetrics:
    """The summed metrics of all server processes, including the counters of processes that have ended.

    So the sum of a counter never falls, which Prometheus would interpret as a reset.
    """

    def __init__(self, own: Metrics, seconds: float = 1.0) -> None:
        """Include ``own``, the supervisor's metrics, in the sums. Cache the sums for ``seconds``."""
        self._own = own
        self.total = Recent(self._total, seconds).get  # returns the sums in Prometheus' text format
        self._processes: dict[int, SupervisorChannel] = {}
        self._ended = Totals()

    async def add(self, number: int, end: socket.socket) -> None:
        """Add server process ``number``. ``end`` is the supervisor's end of the socket pair that connects the two."""
        channel = await SupervisorChannel.open(end, gone=lambda: None)  # the supervisor waits for the process itself
        channel.respond = self.total
        self._processes[number] = channel

    async def remove(self, number: int) -> None:
        """Remove a process that has ended. Keep its counters, and count the process as lost."""
        channel = self._processes.pop(number)
        self._ended.add(channel.latest, ended=True)
        self._own.server_processes_lost.inc()
        await channel.aclose()

    async def _total(self) -> bytes:
        async def refresh(channel: SupervisorChannel) -> None:
            with suppress(Unavailable):  # the process is busy or still starts, so its latest metrics count
                await channel.request(_PROCESS_SECONDS)

        await asyncio.gather(*map(refresh, self._processes.values()))
        totals = deepcopy(self._ended)
        totals.add(self._own.render())
        for channel in self._processes.values():
            totals.add(channel.latest)
        return totals.render()
