"""What the limits count with: counters in this process, bounded (ADR 12), or those that processes share (ADR 20)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from heapq import nsmallest
from math import ceil
from operator import itemgetter
from time import monotonic
from typing import TypeVar

from pycalc.cache.base import CounterStore, Spent, counter_digest
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.observability.metrics import Metrics

T = TypeVar("T")

MAX_KEYS = 50_000
"""Counters that each limit keeps."""
_STALL_SECONDS = 1.0
"""In which one limit's worth may be free because answers are late: the circuit forgives no second stall meanwhile."""


class Counters:
    """A CounterStore in this process, of never more than ``bound`` counters.

    The in-memory storage of ``limits`` holds any number of keys and walks over all of them at each hit. Here a key
    that is one too many sweeps out what has expired, or else the tenth that expires soonest. Nothing here waits, so a
    test and the hit that follows it are one step. A key is kept as its digest: clients choose how long their names are.
    """

    def __init__(self, bound: int = MAX_KEYS, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` tells seconds, from whenever."""
        self.clock = clock
        self._bound = bound
        self._counts: dict[bytes, int] = {}
        self._expiries: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._counts)

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """See CounterStore."""
        digest = counter_digest(key)
        if not self._current(digest):
            if len(self._counts) >= self._bound:
                self._make_room()
            self._counts[digest] = 0
            self._expiries[digest] = self.clock() + expiry
        self._counts[digest] += amount
        if self._counts[digest] <= 0:
            self._forget(digest)
        return self._counts.get(digest, 0)

    async def spend(self, key: str, expiry: float, amount: int, limit: int) -> Spent:
        """See CounterStore."""
        allowed = await self.get(key) + amount <= limit
        used = await self.incr(key, expiry, amount) if allowed else await self.get(key)
        return Spent(allowed, used, await self.get_expiry(key) - self.clock())

    async def get(self, key: str) -> int:
        """See CounterStore."""
        return self._current(counter_digest(key))

    async def get_expiry(self, key: str) -> float:
        """See CounterStore."""
        return self._expiries.get(counter_digest(key), self.clock())

    async def clear(self, key: str) -> None:
        """See CounterStore."""
        self._forget(counter_digest(key))

    def _current(self, digest: bytes) -> int:
        if self._expiries.get(digest, 0.0) <= self.clock():
            self._forget(digest)
        return self._counts.get(digest, 0)

    def _forget(self, digest: bytes) -> None:
        self._counts.pop(digest, None)
        self._expiries.pop(digest, None)

    def _make_room(self) -> None:
        now = self.clock()
        going = [digest for digest, expiry in self._expiries.items() if expiry <= now]
        if not going:
            going = [digest for digest, _ in nsmallest(ceil(self._bound / 10), self._expiries.items(), itemgetter(1))]
        for digest in going:
            self._forget(digest)


class SharedCounters:
    """The counters that processes share, and while those don't take a number this process's own.

    What was counted here meanwhile goes on counting here, beside what is shared, until it expires: a store that is full
    answers questions and takes nothing.
    """

    def __init__(
        self, shared: CounterStore, own: Counters, metrics: Metrics, limit: str, *, lenient: bool = False
    ) -> None:
        """``lenient``: what is spent there, perhaps, its answer being late, is free rather than spent here too.

        No more than one limit's worth is, in one stall.
        """
        self.clock = own.clock
        self._shared = shared
        self._own = own
        self._fallbacks = metrics.limit_fallbacks.labels(limit)
        self._unheard = Counters(clock=own.clock) if lenient else None

    def __len__(self) -> int:
        """Return how many counters are kept in this process."""
        return len(self._own) + (0 if self._unheard is None else len(self._unheard))

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """See CounterStore; the count of one of the two."""
        return await self._of_either(lambda store: store.incr(key, expiry, amount))

    async def spend(self, key: str, expiry: float, amount: int, limit: int) -> Spent:
        """See CounterStore."""
        held = await self._own.get(key) if len(self._own) else 0
        try:
            spent = await self._shared.spend(key, expiry, amount, limit - held)
        except CacheUnavailable as failure:
            self._fallbacks.inc()
            if self._unheard is not None and isinstance(failure, AnswerLost):
                free = await self._unheard.spend(key, _STALL_SECONDS, amount, limit - held)
                return Spent(free.allowed, held + free.used, expiry)
            return await self._own.spend(key, expiry, amount, limit)
        if not held:
            return spent
        left = await self._own.get_expiry(key) - self.clock()
        return Spent(spent.allowed, min(limit, spent.used + held), max(spent.seconds, left))

    async def get(self, key: str) -> int:
        """See CounterStore; the sum of both."""
        try:
            shared = await self._shared.get(key)
        except CacheUnavailable:
            self._fallbacks.inc()
            shared = 0
        return shared + await self._own.get(key)

    async def get_expiry(self, key: str) -> float:
        """See CounterStore; the later one."""
        return max(await self._own.get_expiry(key), await self._of_either(lambda store: store.get_expiry(key)))

    async def clear(self, key: str) -> None:
        """See CounterStore."""
        await self._own.clear(key)
        await self._of_either(lambda store: store.clear(key))

    async def _of_either(self, step: Callable[[CounterStore], Awaitable[T]]) -> T:
        try:
            return await step(self._shared)
        except CacheUnavailable:
            self._fallbacks.inc()
            return await step(self._own)
