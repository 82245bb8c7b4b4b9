"""Dashboards, alerts and the operations guide: they name only metrics and settings that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from deploy.observability.__main__ import files
from deploy.observability.alerts import ALERTS, Alert
from deploy.observability.names import NAMES, resolved
from pycalc.settings import Settings
from tests.deploy.images import ROOT
from tests.harness.servers import API_ROLE, CONSUMER_ROLE, Server

GUIDE = (ROOT / "docs/operations.md").read_text()
_SERIES = re.compile(r"\b(?:pycalc|http|process|python)_[a-z_]+\b")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}


@pytest.fixture(scope="module")
def exported(server: Server) -> set[str]:
    """Return the names of the time series that a running server exports."""
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").raise_for_status().text)
    return {family.name + suffix for family in families for suffix in _SUFFIXES.get(family.type, ("",))}


@pytest.mark.parametrize("file", files(), ids=lambda file: file.name)
def test_what_is_committed_is_what_is_made(file: Path) -> None:
    """The committed dashboards and alert rules equal the output of ``make dashboards``."""
    assert file.read_text() == files()[file]


def _expressions(file: Path) -> list[str]:
    """Return the PromQL queries in a dashboard or in the alert rules."""
    if file.suffix == ".json":
        return [target["expr"] for panel in json.loads(file.read_text())["panels"] for target in panel["targets"]]
    return [line.partition("expr: ")[2] for line in file.read_text().splitlines() if "expr: " in line]


@pytest.mark.parametrize("file", files(), ids=lambda file: file.name)
def test_every_query_is_about_what_a_running_server_exports(file: Path, exported: set[str]) -> None:
    """Every query names only exported time series, so that no dashboard is empty and no alert silent."""
    for expression in _expressions(file):
        named = set(_SERIES.findall(expression))
        assert named or expression == json.dumps('up{job="pycalc"} == 0'), expression
        assert named - exported == set()


def test_every_metric_is_shown() -> None:
    """Every metric is on a dashboard or in an alert."""
    shown = {name for file in files() for line in _expressions(file) for name in _SERIES.findall(line)}
    shown |= {name.removesuffix("_bucket") for name in shown}
    assert [attribute for attribute, series in NAMES.items() if series not in shown] == []


def test_a_metric_that_does_not_exist_is_not_named() -> None:
    """``make dashboards`` fails if a query names a metric that does not exist."""
    assert resolved("rate(<events_published>[5m])") == "rate(pycalc_events_published_total[5m])"
    with pytest.raises(KeyError, match="events_imagined"):
        resolved("rate(<events_imagined>[5m])")


def test_the_guide_names_metrics_that_exist(exported: set[str]) -> None:
    """Each metric in the operations guide exists; names of database roles look like metrics and are ignored."""
    named = set(_SERIES.findall(GUIDE)) - {API_ROLE, CONSUMER_ROLE}
    assert named
    assert named - exported == set()


def test_the_rules_tests_use_metrics_that_exist(exported: set[str]) -> None:
    """The promtool tests name only existing metrics, because promtool does not know which time series are exported."""
    named = set(_SERIES.findall((ROOT / "deploy/prometheus/alerts.test.yml").read_text()))
    assert named
    assert named - exported == set()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_is_tested_and_has_its_entry_in_the_guide(alert: Alert) -> None:
    """Every alert has a test, and its link leads to a section of the operations guide."""
    tests = (ROOT / "deploy/prometheus/alerts.test.yml").read_text()
    assert re.search(rf"alertname: {alert.name}\n +exp_alerts:", tests)
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"(?m)^#+ (.*)$", GUIDE)}
    document, _, anchor = alert.runbook.partition("#")
    assert (ROOT / document).is_file()
    assert anchor in headings


def test_the_guide_explains_every_reason_of_a_refused_request() -> None:
    """The operations guide's section on the alert PycalcRefusing explains every reason for refusing a request."""
    code = "".join(file.read_text() for file in (ROOT / "pycalc").rglob("*.py"))
    reasons = set(re.findall(r'requests_refused\.labels\(\s*"(\w+)"', code))
    entry = GUIDE.partition("### PycalcRefusing\n")[2].partition("\n### ")[0]
    assert reasons == {"overload", "batches", "memory", "database"}
    assert reasons == set(re.findall(r"`(\w+)`:", entry))


def _table() -> dict[str, str]:
    """Return the settings and their defaults from the table in the operations guide."""
    section = GUIDE.partition("## Settings\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"(?m)^\| `(PYCALC_[A-Z_]+)` \|(.*?)\|", section))


def test_the_guide_s_settings_are_the_service_s() -> None:
    """The table in the operations guide has exactly the service's settings."""
    assert sorted(_table()) == sorted(f"PYCALC_{name.upper()}" for name in Settings.model_fields)


def test_the_guide_s_defaults_are_the_service_s() -> None:
    """The table in the operations guide has each setting's default, unless the default depends on the machine."""
    plain = {name: field for name, field in Settings.model_fields.items() if field.default_factory is None}
    for name, field in plain.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        told = _table()[f"PYCALC_{name.upper()}"].strip().strip("`")
        assert told == ("" if default in ((), None) else str(default)), name


def test_prometheus_asks_the_port_that_the_fleet_s_metrics_are_on() -> None:
    """In Compose, all services have their metrics on one unpublished port, which Prometheus scrapes."""
    compose = (ROOT / "compose.yaml").read_text()
    (port,) = re.findall(r'PYCALC_METRICS_PORT: "(\d+)"', compose)
    targets = re.findall(
        r"(?:api-1|api-2|relay|consumer):(\d+)", (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    )
    assert targets == [port] * 4
    assert f":{port}" not in compose
