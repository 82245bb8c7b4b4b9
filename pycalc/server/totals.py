"""Sums of Prometheus expositions: parsed, added up and rendered again (ADR 21)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from operator import add

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_CUMULATIVE = {"counter", "histogram", "summary"}
# Gauges whose value is the same in all processes, or whose worst value counts. Gauges in seconds are of this kind too.
_MAXIMUM = {
    "process_max_fds",
    "process_open_fds",
    "pycalc_cache_circuit",
    "pycalc_key_file_unreadable",
    "pycalc_outbox_backlog",
    "python_info",
}
_MINIMUM = {"process_start_time_seconds"}


def _is_creation(family: Metric) -> bool:
    """Return whether a family holds the times at which the series of a counter began."""
    return family.type == "gauge" and family.name.endswith("_created")


def _combining(family: Metric) -> Callable[[float, float], float]:
    """Return the function that combines two processes' values of a family."""
    if family.type in _CUMULATIVE:
        return add
    if family.name in _MINIMUM or _is_creation(family):
        return min
    if family.name in _MAXIMUM or family.name.endswith("_seconds"):
        return max
    return add


class Totals:
    """A sum of expositions, empty at first; a Prometheus collector."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}

    def copy(self) -> Totals:
        """Return an independent copy."""
        return deepcopy(self)

    def add(self, exposition: bytes, *, ended: bool = False) -> None:
        """Add an exposition in Prometheus' text format; of a process that has ``ended``, its counts and no gauges."""
        for family in text_string_to_metric_families(exposition.decode()):
            if ended and family.type not in _CUMULATIVE and not _is_creation(family):
                continue
            self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            values = self._values.setdefault(family.name, {})
            combined = _combining(family)
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                values[key] = combined(values[key], sample.value) if key in values else sample.value

    def collect(self) -> Iterator[Metric]:
        """Yield the families, as a collector does."""
        for name, family in self._families.items():
            summed = Metric(name, family.documentation, family.type)
            summed.samples = [Sample(of, dict(labels), value) for (of, labels), value in self._values[name].items()]
            yield summed

    def render(self) -> bytes:
        """Return the sum in Prometheus' text format."""
        return generate_latest(self)
