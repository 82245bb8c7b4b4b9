"""The names in the deployment's files are the code's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import Metric

from pycalc.observability.metrics import Metrics
from pycalc.settings import Settings
from tests.deploy.images import ROOT

_FILES = ("Dockerfile", "compose.yaml", "deploy/gcp/run.tf", "deploy/image/health.py")
_SETTING = re.compile(r"\bPYCALC_[A-Z_]+\b")
_SERIES = re.compile(r"\b(?:pycalc|http|process)_[a-z_]+\b")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


@pytest.mark.parametrize("file", _FILES)
def test_settings_exist(file: str) -> None:
    """A deployment sets nothing that the service does not know."""
    known = {f"PYCALC_{name.upper()}" for name in Settings.model_fields}
    named = set(_SETTING.findall((ROOT / file).read_text()))
    assert named
    assert named - known == set()


def _series(metric: Metric) -> list[str]:
    return [metric.name + suffix for suffix in _SUFFIXES.get(metric.type, ("",))]


@pytest.mark.parametrize("file", ["alerts.yml", "alerts.test.yml"])
def test_metrics_exist(file: str) -> None:
    """Every series in a rule is one that the service exports."""
    known = {name for metric in Metrics().registry.collect() for name in _series(metric)}
    named = set(_SERIES.findall(Path(ROOT / "deploy/prometheus" / file).read_text()))
    assert named
    assert named - known == set()
