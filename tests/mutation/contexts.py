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
_failed: set[str] = set()


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
    if not report.passed:
        _failed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write the times of the tests that passed, by their ids, to the file that PYCALC_MUTATION_SECONDS names."""
    passed = {test: seconds for test, seconds in _seconds.items() if test not in _failed}
    Path(os.environ["PYCALC_MUTATION_SECONDS"]).write_text(json.dumps(passed))
