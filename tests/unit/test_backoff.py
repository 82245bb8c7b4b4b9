"""Delays before retries: exponential, random and bounded."""

from __future__ import annotations

import asyncio
import random

import pytest

from pycalc.backoff import backoff_after, full_jitter, wait_until_set
from pycalc.errors import StoreUnavailable, StreamUnavailable


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make each random delay the longest possible; return a list that records the shortest possible ones."""
    shortest: list[float] = []

    def longest_of(low: float, high: float) -> float:
        shortest.append(low)
        return high

    monkeypatch.setattr(random, "uniform", longest_of)
    return shortest


def test_a_delay_is_up_to_twice_as_long_after_each_failure(spread: list[float]) -> None:
    """The longest delay begins with 0.2 s, or as the caller says, and doubles with each failure.

    It grows up to the caller's limit, but at most to 65,536 times the first delay.
    """
    assert [full_jitter(failures, 1e9) for failures in (1, 2, 3, 16, 17, 18, 10**6)] == pytest.approx(
        [0.2, 0.4, 0.8, 6_553.6, 13_107.2, 13_107.2, 13_107.2]
    )
    assert [full_jitter(failures, 30.0) for failures in (8, 9)] == pytest.approx([25.6, 30.0])
    assert [full_jitter(failures, 5.0, 0.1) for failures in (1, 2, 7)] == pytest.approx([0.1, 0.2, 5.0])
    assert {*spread} == {0}


def test_a_database_is_tried_again_within_a_second(spread: list[float]) -> None:
    """A database is tried again after at most 1 s, or sooner if the caller says so; a broker's delay may be longer."""
    gone, down = StoreUnavailable("The database is gone."), StreamUnavailable("The broker is down.")
    assert [backoff_after(gone, 10, 30.0), backoff_after(gone, 10, 0.5), backoff_after(down, 10, 30.0)] == [
        1.0,
        0.5,
        30.0,
    ]


@pytest.mark.anyio
async def test_a_wait_ends_with_its_event_or_its_time() -> None:
    """``wait_until_set`` returns True at once if the event is set, and False after the time."""
    event = asyncio.Event()
    assert not await wait_until_set(event, 0.001)
    event.set()
    assert await wait_until_set(event, None)
    assert await wait_until_set(event, 0.0)
