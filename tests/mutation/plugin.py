"""A pytest plugin: record which test runs which line, or run only the chosen tests."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

from tests.harness import servers

_CHOICE = os.environ.get("MUTATION_CHOSEN")
_LIMIT_BYTES = 6 << 30  # so that a mutant that allocates without end does not stop the machine


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Let tests start pycalc in new interpreters, because coverage.py records no lines of forked processes."""
    servers.forking = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run only the chosen tests in the chosen order, and after them the tests that have a new id.

    A mutant can change the parameters of a chosen test, and therefore its id.
    """
    if _CHOICE is None:
        return
    choice = json.loads(Path(_CHOICE).read_text())
    order = {nodeid: index for index, nodeid in enumerate(choice["chosen"])}
    functions = {nodeid.partition("[")[0] for nodeid in order}
    renamed = [
        item for item in items if item.nodeid.partition("[")[0] in functions and item.nodeid not in choice["known"]
    ]
    chosen = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen and item not in renamed])
    items[:] = [*chosen, *renamed]
    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Attribute executed lines to the running test; end the process if a mutant keeps a chosen test from ending."""
    if _CHOICE is not None:
        signal.alarm(30)  # the default action of SIGALRM ends the process even while C code computes
        result = yield
        signal.alarm(0)
        return result
    if recording := coverage.Coverage.current():
        recording.switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write down the duration and outcome of each part of a test."""
    record = os.environ.get("MUTATION_TIMES")
    if record and not hasattr(report, "node"):  # xdist's controller receives each report a second time
        with Path(record).open("a") as file:
            file.write(json.dumps([report.nodeid, report.outcome, report.duration, time.time()]) + "\n")
