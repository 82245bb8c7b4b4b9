"""Pauses between tries: how they grow, and when they are short again."""

from __future__ import annotations

import pytest

from pycalc.cache import pauses as module
from pycalc.cache.pauses import Pauses, reconnecting


def test_they_grow_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is twice as long as the one before, up to the longest; after a reset they begin anew."""
    monkeypatch.setattr(module, "uniform", lambda low, high: high)
    pauses = reconnecting()
    assert [pauses.next() for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    pauses.reset()
    assert [pauses.next() for _ in range(2)] == [0.1, 0.2]


def test_up_to_half_of_each_is_left_to_chance() -> None:
    """Those who failed together don't come back together."""
    pauses = [Pauses(1.0, 2.0).next() for _ in range(1_000)]
    assert 0.5 <= min(pauses) < 0.55
    assert 0.95 < max(pauses) <= 1.0
