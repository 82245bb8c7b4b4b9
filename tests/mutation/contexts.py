"""A pytest plugin: records which test runs which lines, and how long each test takes."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

_seconds: defaultdict[str, float] = defaultdict(float)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count the lines that run from here on as this test's."""
    measuring = coverage.Coverage.current()
    assert measuring is not None, "run pytest by `coverage run`"
    measuring.switch_context(item.nodeid)
    result = yield
    measuring.switch_context("")
    return result


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a phase of a test to its time."""
    _seconds[report.nodeid] += report.duration


def pytest_sessionfinish() -> None:
    """Write the times, by the test's id, to the file that PYCALC_MUTATION_SECONDS names."""
    Path(os.environ["PYCALC_MUTATION_SECONDS"]).write_text(json.dumps(_seconds))
