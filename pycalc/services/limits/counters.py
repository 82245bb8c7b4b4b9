"""Counters for rate limits: a bounded number in this process (ADR 12), or counters that processes share (ADR 20)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from heapq import nsmallest
from math import ceil
from time import monotonic
from typing import TypeVar

from limits import RateLimitItem

from pycalc.cache.base import Bound, CounterStore, Shared, Spent, counter_digest
from pycalc.errors import AnswerLost, CacheUnavailable, LimitState
from pycalc.observability.metrics import Metrics

T = TypeVar("T")

MAX_KEYS = 50_000  # the most counters that this process keeps for each limit
_STALL_SECONDS = 1.0  # while replies are late, a key may spend up to its limit uncounted in each such period


class Counters:
    """A CounterStore in the memory of this process, with at most ``bound`` counters.

    When a new counter would exceed the bound, all expired counters are evicted. If none has expired, a tenth of all
    counters is evicted: those that expire soonest. (The in-memory storage of the library ``limits`` is unbounded, and
    visits all keys at each hit.) No method ever yields to the event loop, so each is atomic.
    """

    def __init__(self, bound: int = MAX_KEYS, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._bound = bound
        self._counts: dict[bytes, int] = {}
        self._expiries: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._counts)

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        digest = counter_digest(key)
        count = self._current(digest) + amount
        if count <= 0:
            self._forget(digest)
            return 0
        if digest not in self._counts:
            now = self.clock()
            if len(self._counts) >= self._bound:
                going = [digest for digest, ends in self._expiries.items() if ends <= now]
                for old in going or nsmallest(ceil(self._bound / 10), self._expiries, self._expiries.__getitem__):
                    self._forget(old)
            self._expiries[digest] = now + expiry
        self._counts[digest] = count
        return count

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        room = [self._current(counter_digest(bound.key)) + amount <= bound.limit for bound in bounds]
        if all(room):
            for bound in bounds:
                await self.incr(bound.key, bound.expiry, amount)
        return [
            Spent(fits, await self.get(bound.key), await self.get_expiry(bound.key) - self.clock())
            for fits, bound in zip(room, bounds, strict=True)
        ]

    async def get(self, key: str) -> int:
        return self._current(counter_digest(key))

    async def get_expiry(self, key: str) -> float:
        return self._expiries.get(counter_digest(key), self.clock())

    async def clear(self, key: str) -> None:
        self._forget(counter_digest(key))

    def _current(self, digest: bytes) -> int:
        if self._expiries.get(digest, 0.0) <= self.clock():
            self._forget(digest)
        return self._counts.get(digest, 0)

    def _forget(self, digest: bytes) -> None:
        self._counts.pop(digest, None)
        self._expiries.pop(digest, None)


class SharedCounters:
    """A CounterStore of shared counters, which counts in this process while the shared store fails.

    Even after the shared store has recovered, ``get`` and ``spend`` add this process's own counts to the shared counts,
    until the own counts expire.
    """

    def __init__(
        self, shared: CounterStore, own: Counters, metrics: Metrics, limit: str, *, lenient: bool = False
    ) -> None:
        """Combine a shared store with the counters of this process.

        If a reply of the shared store is late, the store may or may not have counted the amount. By default, this
        process then counts the amount too, so it may count twice. If ``lenient`` is set, ``spend`` forgets such an
        amount after a second, so a key may exceed its limit while replies are late.
        """
        self.clock = own.clock
        self._shared = shared
        self._own = own
        self._fallbacks = metrics.limit_fallbacks.labels(limit)
        self._unconfirmed = Counters(clock=own.clock) if lenient else None

    def __len__(self) -> int:
        """Return the number of counters in this process."""
        return len(self._own) + (0 if self._unconfirmed is None else len(self._unconfirmed))

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        return await self._of_either(lambda store: store.incr(key, expiry, amount))

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        held = [await self._own.get(bound.key) if len(self._own) else 0 for bound in bounds]
        left = [bound._replace(limit=bound.limit - own) for bound, own in zip(bounds, held, strict=True)]
        try:
            spent = await self._shared.spend(amount, left)
        except CacheUnavailable as failure:
            self._fallbacks.inc()
            if self._unconfirmed is None or not isinstance(failure, AnswerLost):
                return await self._own.spend(amount, bounds)
            spent = await self._unconfirmed.spend(amount, [bound._replace(expiry=_STALL_SECONDS) for bound in left])
            spent = [each._replace(seconds=bound.expiry) for each, bound in zip(spent, bounds, strict=True)]
        for n, (own, bound) in enumerate(zip(held, bounds, strict=True)):
            if own:  # add the amount that only this process counted
                seconds = max(spent[n].seconds, await self._own.get_expiry(bound.key) - self.clock())
                spent[n] = Spent(spent[n].allowed, min(bound.limit, spent[n].used + own), seconds)
        return spent

    async def get(self, key: str) -> int:
        try:
            shared = await self._shared.get(key)
        except CacheUnavailable:
            self._fallbacks.inc()
            shared = 0
        return shared + await self._own.get(key)

    async def get_expiry(self, key: str) -> float:
        return max(await self._own.get_expiry(key), await self._of_either(lambda store: store.get_expiry(key)))

    async def clear(self, key: str) -> None:
        await self._own.clear(key)
        await self._of_either(lambda store: store.clear(key))

    async def _of_either(self, step: Callable[[CounterStore], Awaitable[T]]) -> T:
        try:
            return await step(self._shared)
        except CacheUnavailable:
            self._fallbacks.inc()
            return await step(self._own)


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
