"""Helpers for tests of counters and rate limits."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from pycalc.cache.base import Bound, CounterStore, Spent
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.calculation_rate import CalculationRateLimit, calculation_limits


async def spend_one(counters: CounterStore, key: str, amount: int, limit: int) -> Spent:
    """Spend from one counter that expires after a minute; return the counter's state."""
    (spent,) = await counters.spend(amount, [Bound(key, 60, limit)])
    return spent


async def count(counters: CounterStore, key: str, amount: int = 1, *, expiry: float = 60) -> int:
    """Add to a counter without a limit; return the new count."""
    (spent,) = await counters.spend(amount, [Bound(key, expiry)])
    return spent.used


async def count_of(counters: CounterStore, key: str) -> int:
    """Return the present count of a counter."""
    return await count(counters, key, 0)


def calculation_rate(limit: str, clock: Callable[[], float] = monotonic) -> CalculationRateLimit:
    """Return a rate limit on calculations with new metrics and counters."""
    found = calculation_limits(Metrics(), clock=clock)(limit)
    assert found is not None
    return found
