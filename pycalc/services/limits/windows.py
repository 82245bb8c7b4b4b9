"""Fixed-window rate limits, alone or several together (ADR 12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from time import monotonic

from limits import RateLimitItem

from pycalc.cache.base import CounterStore, Shared, Spent
from pycalc.errors import Quota
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
    """Return the counters of the limit ``name``, in the shared cache if there is one, else in this process.

    At most ``bound`` of them are kept in this process; ``lenient`` is as for SharedCounters.
    """
    own = Counters(bound, clock)
    counters = own if shared is None else SharedCounters(shared.counters(name), own, metrics, name, lenient=lenient)
    metrics.limit_keys.labels(name).set_function(lambda: len(counters))
    return counters


class Window:
    """A fixed-window rate limit with a counter for each key; a window begins with a key's first use."""

    def __init__(self, limit: RateLimitItem, counters: CounterStore) -> None:
        self._limit = limit
        self._counters = counters
        self.amount = limit.amount
        self.seconds = limit.get_expiry()
        unit = limit.GRANULARITY.name
        self._title = unit if limit.multiples == 1 else f"{limit.multiples} {unit}s"

    def name(self, key: str) -> str:
        """Return the name of a key's counter."""
        return self._limit.key_for(key)

    def quota(self, remaining: int, seconds: float) -> Quota:
        """Return the state of a window that ends in ``seconds``; one that has ended counts as a new window."""
        return Quota(self.amount, self.seconds, remaining, max(0, ceil(seconds)) or self.seconds, self._title)

    async def spend(self, key: str, cost: int = 1) -> tuple[bool, Quota]:
        """Count ``cost`` if the limit allows it; return whether it does, and the key's quota."""
        spent: Spent = await self._counters.spend(self.name(key), self.seconds, cost, self.amount)
        return spent.allowed, self.quota(self.amount - spent.used, spent.seconds)

    async def give_back(self, key: str, cost: int) -> None:
        """Subtract ``cost``, which ``spend`` has counted."""
        await self._counters.incr(self.name(key), self.seconds, -cost)

    async def exhausted(self, key: str) -> bool:
        """Return whether a key has used up the limit."""
        return await self._counters.get(self.name(key)) >= self.amount

    async def clear(self, key: str) -> None:
        """Reset a key's count."""
        await self._counters.clear(self.name(key))


async def spend_all(windows: Sequence[Window], key: str, cost: int) -> tuple[list[Quota], list[Quota]]:
    """Count ``cost`` in all windows, or in none if one refuses; return all quotas, and those of refusing windows."""
    spent = [await window.spend(key, cost) for window in windows]
    full = [quota for allowed, quota in spent if not allowed]
    quotas = [quota for _, quota in spent]
    if full:
        for place, (window, (allowed, quota)) in enumerate(zip(windows, spent, strict=True)):
            if allowed:
                await window.give_back(key, cost)
                quotas[place] = quota._replace(remaining=quota.remaining + cost)
    return quotas, full
