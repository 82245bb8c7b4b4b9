"""Short forms of the drills: the code of ``make drill``, in a size that every test run can afford.

Faults that depend on how busy the machine is, such as latencies and rates, are judged only in the full size.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import pytest

from drills.greedy import greedy
from drills.hostile import hostile
from drills.killing import killing
from drills.large_bodies import large_bodies
from drills.outages import cannot_mount, cannot_trace, failing_writes, filling, hanging, locking
from drills.postgres import postgres_restarts
from drills.redis_outage import redis_stops
from drills.retrying import retrying
from drills.slow_clients import KINDS, slow
from drills.stopping import stopping, stopping_several
from drills.support.finding import Finding
from drills.syncing import missing, syncing
from tests.harness import postgres

pytestmark = pytest.mark.programs

# Kinds of faults that depend on durations.
BUSY_MACHINE = {
    "others suffer",
    "recoveries over 1 s",
    "refusals over 2 s",
    "refused after recovery",
    "slow calculations",
    "slow health checks",
    "slow refusals",
    "slower",
    "too little asked",
    "too little goodput",
    "too long",
    "too long to recover",
    "too slow",
}


def fine(finding: Finding) -> None:
    """Assert that a drill found no fault, except those that a busy machine causes."""
    assert set(finding.faults) <= BUSY_MACHINE, finding


def available(what_is_missing: str | None) -> None:
    """Skip the test if ``what_is_missing`` is not None; in CI, fail it instead."""
    if what_is_missing is None:
        return
    if os.environ.get("CI"):
        pytest.fail(what_is_missing)
    pytest.skip(what_is_missing)


@pytest.mark.parametrize(
    "drill",
    [
        pytest.param(partial(killing, 2), id="kill -9"),
        pytest.param(partial(retrying, 3), id="kill -9, retries"),
        pytest.param(partial(stopping, 2, long=(1_000_000,)), id="SIGTERM"),
        pytest.param(partial(locking, 2.5), id="write lock held"),
        pytest.param(partial(failing_writes, 1.0), id="I/O error"),
        pytest.param(partial(slow, *KINDS, connections=20, seconds=1.0), id="slow clients"),
        pytest.param(partial(redis_stops, "hanging", 100), id="Redis hangs"),
        pytest.param(partial(redis_stops, "killed", 100), id="Redis is killed"),
        pytest.param(partial(large_bodies, 20), id="large bodies"),
        pytest.param(partial(hostile, 3.0), id="hostile clients"),
        pytest.param(partial(greedy, 3.0, rate_limit="1500/minute; 100000/day"), id="a greedy account"),
    ],
)
def test_a_drill_finds_no_fault(drill: Callable[[], Finding]) -> None:
    """The drill finds no fault, except those that depend on how busy the machine is."""
    fine(drill())


def test_each_answer_leaves_after_its_sync() -> None:
    """Every response is sent only after the write of its history row was synced to the disk."""
    available(missing())
    fine(syncing(1.0))


def test_a_full_disk_is_unavailability_and_no_more() -> None:
    """While the disk is full, writing requests get 503 and nothing is lost; with free space, all succeed again."""
    available(cannot_mount())
    fine(filling(1.5))


def test_a_hanging_sync_is_answered_all_the_same() -> None:
    """While no ``fdatasync`` returns, calculations get 503, and requests that only read succeed.

    Some of the answers with 503 say that the outcome is unknown.
    """
    available(cannot_trace())
    finding = hanging(2.5)
    fine(finding)
    assert int(finding.figures["not known"]) > 0


def test_a_database_that_restarts_loses_nothing() -> None:
    """After an immediate stop of PostgreSQL under load, each answered calculation is recorded once."""
    available(postgres.missing())
    fine(postgres_restarts(2))


def test_several_processes_on_one_database_are_stopped_as_one() -> None:
    """After SIGTERM under load nothing is lost or duplicated, and every request that a process has read is answered."""
    available(postgres.missing())
    fine(stopping_several(1, long=(1_000_000,)))
