"""The names of the exported metrics, for the alert rules and the dashboards."""

from __future__ import annotations

import re

from prometheus_client.metrics import MetricWrapperBase

from pycalc.observability.metrics import Metrics

_NAMED = re.compile(r"<([a-z_]+)>")


def _exported() -> dict[str, str]:
    """Return a map from each attribute of Metrics to the exported name of the metric.

    A histogram's name lacks the suffixes of its series, such as ``_bucket``.
    """
    metrics = Metrics()
    names = {}
    for attribute, value in vars(metrics).items():
        if isinstance(value, MetricWrapperBase):
            (family,) = value.describe()
            names[attribute] = family.name + ("_total" if family.type == "counter" else "")
    return names


# The exported name of each metric, by its attribute in Metrics.
NAMES = _exported()


def resolved(expression: str) -> str:
    """Return a PromQL expression with each ``<attribute of Metrics>`` replaced by the metric's exported name.

    Raises KeyError for a metric that the code does not export.
    """
    return _NAMED.sub(lambda found: NAMES[found[1]], expression)
