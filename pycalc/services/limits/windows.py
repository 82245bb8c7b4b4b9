"""Fixed-window rate limits (ADR 12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from time import monotonic

from limits import RateLimitItem

from pycalc.cache.base import Bound, CounterStore, Shared
from pycalc.errors import LimitState
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.counters import MAX_KEYS, Counters, SharedCounters


def counters_of(
    name: str,
    metrics: Metrics,
    shared: Shared | None,
    bound: int = MAX_KEYS,
    clock: Callable[[], float] = monotonic,
    *,
    lenient: bool = False,
) -> CounterStore:
    """Return the counters of the limit called ``name``: in the shared cache if there is one, else in this process.

    This process keeps at most ``bound`` counters. SharedCounters explains ``lenient``.
    """
    own = Counters(bound, clock)
    counters = own if shared is None else SharedCounters(shared.counters(name), own, metrics, name, lenient=lenient)
    metrics.limit_keys.labels(name).set_function(lambda: len(counters))
    return counters


class Window:
    """A fixed-window rate limit with a counter for each key; the window of a key begins with its first use."""

    def __init__(self, limit: RateLimitItem, counters: CounterStore, prefix: str = "") -> None:
        """Create a window. ``prefix`` begins its name in header fields."""
        self.counters = counters
        self.amount = limit.amount
        self.seconds = limit.get_expiry()
        unit = limit.GRANULARITY.name
        self.title = prefix + (unit if limit.multiples == 1 else f"{limit.multiples} {unit}s")

    def name(self, key: str) -> str:
        """Return the name of a key's counter, which stays the same when the limit's amount changes."""
        return f"{key}/{self.seconds}"


async def spend_all(windows: Sequence[Window], key: str, cost: int) -> tuple[list[LimitState], list[LimitState]]:
    """Count ``cost`` in all windows of a key, or in none if a limit would be exceeded.

    All windows must have the same counters. Return the states of all windows, and the states of those whose limit would
    be exceeded.
    """
    bounds = [Bound(window.name(key), window.seconds, window.amount) for window in windows]
    spent = await windows[0].counters.spend(cost, bounds)
    states = []
    for window, each in zip(windows, spent, strict=True):
        reset = max(0, ceil(each.seconds)) or window.seconds  # the whole length if no window is running
        left = max(0, window.amount - each.used)
        states.append(LimitState(window.amount, window.seconds, left, reset, window.title))
    return states, [state for state, each in zip(states, spent, strict=True) if not each.allowed]
