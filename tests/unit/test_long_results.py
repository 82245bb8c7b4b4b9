"""The bytes of long results that are alive: counted while somebody has them, bounded, also for each user."""

from __future__ import annotations

import pytest

from pycalc.errors import Overloaded
from pycalc.observability.metrics import Metrics
from pycalc.services.long_results import LongResults
from tests.services.results import result

LONG = 2 * 1024 * 1024


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of the test's own."""
    return Metrics()


@pytest.fixture
def alive(metrics: Metrics) -> LongResults:
    """Return a bound of 8 MiB, of which a user may have two."""
    return LongResults(metrics, 4 * LONG)


def counted(metrics: Metrics) -> float | None:
    """Return the bytes that are told."""
    return metrics.registry.get_sample_value("pycalc_results_long_bytes")


def test_a_result_counts_as_long_as_it_lives(alive: LongResults, metrics: Metrics) -> None:
    """And no longer; what has a mebibyte or less does not count."""
    held = result()
    alive.count(held, LONG, b"ada")
    alive.count(held, 1024 * 1024, b"ada")
    assert counted(metrics) == LONG
    del held
    assert counted(metrics) == 0


def test_over_a_users_share_there_is_no_room_for_that_user(alive: LongResults, metrics: Metrics) -> None:
    """A quarter may be taken, and what is over it once; then others have room, and what is short."""
    held = [result(), result()]
    for each in held:
        alive.require_room(b"ada")
        alive.count(each, LONG, b"ada")
    with pytest.raises(Overloaded), alive.expected(LONG, b"ada"):
        pass
    assert metrics.registry.get_sample_value("pycalc_compute_refused_total") == 1
    with alive.expected(LONG, b"bob"), alive.expected(1_000, b"ada"):
        assert counted(metrics) == 3 * LONG
    assert counted(metrics) == 2 * LONG


def test_over_the_bound_there_is_no_room_for_anybody(alive: LongResults) -> None:
    """What is expected counts like what is there."""
    users = [bytes([number]) for number in range(6)]
    with alive.expected(2 * LONG, users[0]), alive.expected(2 * LONG, users[1]), alive.expected(LONG, users[2]):
        for user in users:
            with pytest.raises(Overloaded):
                alive.require_room(user)
    alive.require_room(users[0])
