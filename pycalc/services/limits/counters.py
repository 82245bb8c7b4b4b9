"""Counters for rate limits: a bounded number in this process (ADR 12), or counters that processes share (ADR 20)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nsmallest
from math import ceil
from time import monotonic

from limits import RateLimitItem

from pycalc.cache.base import Bound, CounterStore, Shared, Spent, counter_digest
from pycalc.errors import CacheUnavailable, LimitState
from pycalc.observability.metrics import Metrics

MAX_KEYS = 50_000  # the most counters that this process keeps for each limit


class Counters:
    """A CounterStore in the memory of this process, with at most ``bound`` counters.

    When a new counter would exceed the bound, all expired counters are evicted. If none has expired, a tenth of all
    counters is evicted: those that expire soonest. (The in-memory storage of the library ``limits`` is unbounded, and
    visits all keys at each hit.) No method ever yields to the event loop, so each is atomic.
    """

    def __init__(self, bound: int = MAX_KEYS, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._bound = bound
        self._counts: dict[bytes, int] = {}
        self._expiries: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._counts)

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        now = self._clock()
        digests = [counter_digest(bound.key) for bound in bounds]
        for digest in digests:
            if self._expiries.get(digest, now) <= now:
                self._forget(digest)
        room = [
            self._counts.get(digest, 0) + amount <= bound.limit for digest, bound in zip(digests, bounds, strict=True)
        ]
        for digest, bound in zip(digests, bounds, strict=True):
            count = self._counts.get(digest, 0) + (amount if all(room) else 0)
            if count <= 0:
                self._forget(digest)
                continue
            if digest not in self._counts:
                if len(self._counts) >= self._bound:
                    going = [old for old, ends in self._expiries.items() if ends <= now]
                    for old in going or nsmallest(ceil(self._bound / 10), self._expiries, self._expiries.__getitem__):
                        self._forget(old)
                self._expiries[digest] = now + bound.expiry
            self._counts[digest] = count
        return [
            Spent(fits, self._counts.get(digest, 0), self._expiries.get(digest, now) - now)
            for fits, digest in zip(room, digests, strict=True)
        ]

    async def clear(self, *keys: str) -> None:
        for key in keys:
            self._forget(counter_digest(key))

    def _forget(self, digest: bytes) -> None:
        self._counts.pop(digest, None)
        self._expiries.pop(digest, None)


class SharedCounters:
    """A CounterStore of shared counters, which counts in this process while the shared store fails.

    A late reply is a failure too, although the shared store may have counted the amount: it rather counts twice than
    not at all. After the shared store has recovered, this process's own counts are added until they expire.
    """

    def __init__(self, shared: CounterStore, own: Counters, metrics: Metrics, limit: str) -> None:
        self._shared = shared
        self._own = own
        self._fallbacks = metrics.limit_fallbacks.labels(limit)

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        held = await self._own.spend(0, bounds)
        left = [bound._replace(limit=bound.limit - own.used) for bound, own in zip(bounds, held, strict=True)]
        try:
            spent = await self._shared.spend(amount, left)
        except CacheUnavailable:
            self._fallbacks.inc()
            return await self._own.spend(amount, bounds)
        return [
            Spent(there.allowed, min(bound.limit, there.used + here.used), max(there.seconds, here.seconds))
            for there, here, bound in zip(spent, held, bounds, strict=True)
        ]

    async def clear(self, *keys: str) -> None:
        await self._own.clear(*keys)
        try:
            await self._shared.clear(*keys)
        except CacheUnavailable:
            self._fallbacks.inc()


def counters_of(
    name: str, metrics: Metrics, shared: Shared | None, bound: int = MAX_KEYS, clock: Callable[[], float] = monotonic
) -> CounterStore:
    """Return the counters of the limit ``name``: in the shared cache if there is one, else in this process.

    This process keeps at most ``bound`` counters.
    """
    own = Counters(bound, clock)
    metrics.limit_keys.labels(name).set_function(lambda: len(own))
    return own if shared is None else SharedCounters(shared.counters(name), own, metrics, name)


class Windows:
    """The fixed windows of a rate limit, each with a counter for each key. A key's window begins with its first use."""

    def __init__(self, limits: Sequence[RateLimitItem], counters: CounterStore, prefix: str = "") -> None:
        """Create the windows. ``prefix`` begins their names in header fields."""
        self.counters = counters
        self._limits = limits
        self._names = [
            prefix + (unit if limit.multiples == 1 else f"{limit.multiples} {unit}s")
            for limit, unit in ((limit, limit.GRANULARITY.name) for limit in limits)
        ]

    def bounds(self, key: str) -> list[Bound]:
        """Return the bounds of a key's counters, whose names stay the same when a limit's amount changes."""
        return [Bound(f"{key}/{limit.get_expiry()}", limit.get_expiry(), limit.amount) for limit in self._limits]

    async def spend(self, key: str, cost: int) -> tuple[list[LimitState], list[LimitState]]:
        """Count ``cost`` in all windows of a key, or in none if a limit would be exceeded.

        Return the states of all windows, and the states of those whose limit would be exceeded.
        """
        spent = await self.counters.spend(cost, self.bounds(key))
        states = []
        for limit, name, each in zip(self._limits, self._names, spent, strict=True):
            # The whole length if no window is running. In a new window, rounding may make the seconds a trifle more.
            length = limit.get_expiry()
            reset = min(length, max(0, ceil(each.seconds)) or length)
            states.append(LimitState(limit.amount, length, max(0, limit.amount - each.used), reset, name))
        return states, [state for state, each in zip(states, spent, strict=True) if not each.allowed]
