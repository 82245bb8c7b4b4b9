"""The backoff of relay and consumer: exponential, spread evenly, bounded."""

from __future__ import annotations

import random

import pytest

from pycalc.backoff import Pauses, full_jitter, pause_after, reconnecting
from pycalc.errors import StoreUnavailable, StreamUnavailable


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let each delay be the longest one; return the shortest ones."""
    shortest: list[float] = []

    def longest_of(low: float, high: float) -> float:
        shortest.append(low)
        return high

    monkeypatch.setattr(random, "uniform", longest_of)
    return shortest


def test_a_delay_is_up_to_twice_as_long_after_each_failure(spread: list[float]) -> None:
    """From 0.2 s on, at most 65,536 times that, and never longer than is asked for."""
    assert [full_jitter(failures, 1e9) for failures in (1, 2, 3, 16, 17, 18, 10**6)] == pytest.approx(
        [0.2, 0.4, 0.8, 6_553.6, 13_107.2, 13_107.2, 13_107.2]
    )
    assert [full_jitter(failures, 30.0) for failures in (8, 9)] == pytest.approx([25.6, 30.0])
    assert {*spread} == {0}


def test_a_database_is_tried_again_within_a_second(spread: list[float]) -> None:
    """Unless less is asked for; anything else may take longer."""
    gone, down = StoreUnavailable("The database is gone."), StreamUnavailable("The broker is down.")
    assert [pause_after(gone, 10, 30.0), pause_after(gone, 10, 0.5), pause_after(down, 10, 30.0)] == [1.0, 0.5, 30.0]


def test_pauses_grow_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is twice as long as the one before, up to the longest; after a reset they begin anew."""
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    pauses = reconnecting()
    assert [pauses.next() for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    pauses.reset()
    assert [pauses.next() for _ in range(2)] == [0.1, 0.2]


def test_up_to_half_of_each_pause_is_left_to_chance() -> None:
    """Those who failed together don't come back together."""
    pauses = [Pauses(1.0, 2.0).next() for _ in range(1_000)]
    assert 0.5 <= min(pauses) < 0.55
    assert 0.95 < max(pauses) <= 1.0
