"""Fixed-window rate limits, alone or several together (ADR 12)."""

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

    This process keeps at most ``bound`` counters. ``lenient`` is passed to SharedCounters.
    """
    own = Counters(bound, clock)
    counters = own if shared is None else SharedCounters(shared.counters(name), own, metrics, name, lenient=lenient)
    metrics.limit_keys.labels(name).set_function(lambda: len(counters))
    return counters


class Window:
    """A fixed-window rate limit with a counter for each key; the window of a key begins with its first use."""

    def __init__(self, limit: RateLimitItem, counters: CounterStore, prefix: str = "") -> None:
        """Create a window whose name in header fields begins with ``prefix``."""
        self.counters = counters
        self.amount = limit.amount
        self.seconds = limit.get_expiry()
        unit = limit.GRANULARITY.name
        self._title = prefix + (unit if limit.multiples == 1 else f"{limit.multiples} {unit}s")

    def name(self, key: str) -> str:
        """Return the name of a key's counter, which stays the same when the limit's amount changes."""
        return f"{key}/{self.seconds}"

    def state(self, remaining: int, seconds: float) -> LimitState:
        """Return the state of a window that ends in ``seconds``.

        If it has ended already, return the state of a new window.
        """
        return LimitState(
            self.amount, self.seconds, max(0, remaining), max(0, ceil(seconds)) or self.seconds, self._title
        )

    def bound(self, key: str) -> Bound:
        """Return the Bound of a key: the name and expiry of its counter, and the limit's amount."""
        return Bound(self.name(key), self.seconds, self.amount)

    async def give_back(self, key: str, cost: int) -> None:
        """Subtract ``cost`` from a key's count, because that much of the counted amount was not used."""
        await self.counters.incr(self.name(key), self.seconds, -cost)

    async def clear(self, key: str) -> None:
        """Reset a key's count."""
        await self.counters.clear(self.name(key))


async def spend_all(windows: Sequence[Window], key: str, cost: int) -> tuple[list[LimitState], list[LimitState]]:
    """Count ``cost`` in all windows, or in none if a limit would be exceeded.

    Return the states of all windows, and the states of those whose limit would be exceeded.
    """
    spent = await windows[0].counters.spend(cost, [window.bound(key) for window in windows])
    states = [
        window.state(window.amount - each.used, each.seconds) for window, each in zip(windows, spent, strict=True)
    ]
    return states, [state for state, each in zip(states, spent, strict=True) if not each.allowed]
