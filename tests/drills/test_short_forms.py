"""The short form of each drill: the same code as ``make drill``, in a size for every test run.

What depends on how busy the machine is (latencies beside others, rates) is judged in the full size only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import pytest

from drills.finding import Finding
from drills.killing import killing, killing_several
from drills.large_bodies import large_bodies
from drills.outages import cannot_mount, cannot_trace, failing_writes, filling, hanging, locking
from drills.overload import missing as missing_crowd
from drills.overload import overload
from drills.postgres import postgres_restarts
from drills.slow_clients import KINDS, slow
from drills.stopping import stopping, stopping_several
from drills.syncing import missing, syncing
from tests.services import postgres

pytestmark = [pytest.mark.programs, pytest.mark.serial]

BUSY_MACHINE = {"too little goodput", "slow refusals", "too little asked", "others suffer"}


def available(what_is_missing: str | None) -> None:
    """Skip the test where the machine lacks something; in CI that is a failure."""
    if what_is_missing is None:
        return
    if os.environ.get("CI"):
        pytest.fail(what_is_missing)
    pytest.skip(what_is_missing)


@pytest.mark.parametrize(
    "drill",
    [
        pytest.param(partial(killing, 3), id="kill -9"),
        pytest.param(partial(stopping, 2, long=(1_000_000,)), id="SIGTERM"),
        pytest.param(partial(locking, 2.5), id="write lock held"),
        pytest.param(partial(failing_writes, 1.0), id="I/O error"),
        pytest.param(partial(slow, *KINDS, connections=50, seconds=1.0), id="slow clients"),
        pytest.param(partial(large_bodies, 20), id="large bodies"),
    ],
)
def test_a_drill_finds_no_fault(drill: Callable[[], Finding]) -> None:
    """The service stands it: what is acknowledged is kept, what can't be done is refused in time, and it recovers."""
    finding = drill()
    assert set(finding.faults) <= BUSY_MACHINE, finding


def test_overload_is_refused() -> None:
    """What is over the bound gets 503; who is let in is answered in time, and nobody is left without an answer."""
    available(missing_crowd())
    finding = overload(seconds=2.0)
    assert set(finding.faults) <= BUSY_MACHINE, finding


def test_each_answer_leaves_after_its_sync() -> None:
    """Every calculation's answer is written to its socket after the sync of the write that holds its row."""
    available(missing())
    finding = syncing(1.0)
    assert finding.passed, finding


def test_a_full_disk_is_unavailability_and_no_more() -> None:
    """503 while it is full, nothing lost, nothing refused that is there, and all is well when there is room again."""
    available(cannot_mount())
    finding = filling(1.5)
    assert finding.passed, finding


def test_a_hanging_sync_is_answered_all_the_same() -> None:
    """503 in time, which says that the outcome is not known; whoever comes later is refused at once."""
    available(cannot_trace())
    finding = hanging(2.5)
    assert finding.passed, finding
    assert int(finding.figures["not known"]) > 0


def test_a_database_that_restarts_loses_nothing() -> None:
    """PostgreSQL, stopped as good as crashed under load: all that was answered is there, once."""
    available(postgres.missing())
    finding = postgres_restarts(3)
    assert finding.passed, finding


@pytest.mark.parametrize(
    "drill",
    [
        pytest.param(partial(killing_several, 2), id="kill -9"),
        pytest.param(partial(stopping_several, 2, long=(1_000_000,)), id="SIGTERM"),
    ],
)
def test_several_processes_on_one_database_stand_it_too(drill: Callable[[], Finding]) -> None:
    """One of them dies, all of them die, all of them are stopped: nothing is lost, doubled or left unanswered."""
    available(postgres.missing())
    finding = drill()
    assert finding.passed, finding
