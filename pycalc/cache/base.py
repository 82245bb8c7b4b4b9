"""What the services know of a cache, and of what else processes share through one."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from math import inf
from typing import NamedTuple, Protocol, runtime_checkable

from pycalc.models.results import Result

LOCAL_TIER = 0.0
"""A cost that is worth looking up in this process only."""


class Cache(Protocol):
    """Keeps results by their canonical key; bounded in bytes. What it gives back is what was put in, or None."""

    async def get(self, key: str, cost: float = inf) -> Result | None:
        """Return the result under a key; raises CacheUnavailable when the cache does not answer.

        ``cost`` is how many seconds it takes to make the result anew: what answers later than that is not asked.
        """
        ...

    async def put(self, key: str, result: Result, cost: float = inf) -> None:
        """Keep a result if it fits and is worth it; raises CacheUnavailable when the cache does not answer."""
        ...

    async def ping(self) -> None:
        """Return when the cache answers; raises CacheUnavailable otherwise."""
        ...

    async def aclose(self) -> None:
        """Let go of the cache."""
        ...


class Spent(NamedTuple):
    """What became of a wish to count: whether it was counted, what is counted now, and for how many seconds yet."""

    allowed: bool
    used: int
    seconds: float


def counter_digest(key: str) -> bytes:
    """Return what a counter is kept under: clients choose how long their names are, and of which characters."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class CounterStore(Protocol):
    """Counters that expire, a while after they begin; none is ever below zero."""

    @property
    def clock(self) -> Callable[[], float]:
        """What tells the time, in seconds from whenever."""
        ...

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter, which begins with that and ``expiry`` seconds if it is not there; return the count."""
        ...

    async def spend(self, key: str, expiry: float, amount: int, limit: int) -> Spent:
        """Add to a counter all of the amount, or nothing when that would take it over the limit."""
        ...

    async def get(self, key: str) -> int:
        """Return a count, 0 when there is none."""
        ...

    async def get_expiry(self, key: str) -> float:
        """Return when a counter expires, by ``clock``; now when there is none."""
        ...

    async def clear(self, key: str) -> None:
        """Forget a counter."""
        ...


class Hints(Protocol):
    """Hints of revocations between processes: quick, and without any promise to arrive."""

    def publish(self) -> None:
        """Tell all processes that somebody has lost a right; returns at once."""
        ...

    def listen(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` whenever there may be a revocation, until the cache is closed."""
        ...


class Claim(Protocol):
    """One caller's wish to make a result, and the right to it (the lease) once it is taken."""

    async def take(self) -> Result | bool:
        """Return the result if there is one; else whether the lease is this claim's, which it may be already.

        It is held until it is released or its process is gone. Raises CacheUnavailable; then it may be held or not.
        """
        ...

    def release(self) -> None:
        """Let others have it once what was put into the cache before is found there, or dropped; returns at once."""
        ...


class Leases(Protocol):
    """Who makes a result that several processes want at once."""

    def hands_on(self, digits: int) -> bool:
        """Whether a result of so many digits is short enough to be found by others."""
        ...

    def claim(self, key: str) -> Claim:
        """Return a claim to the result under a key; nothing is asked yet. To be released in the end."""
        ...


@runtime_checkable
class Shared(Protocol):
    """What a cache offers that is one for several processes."""

    @property
    def hints(self) -> Hints:
        """Hints of revocations."""
        ...

    @property
    def leases(self) -> Leases:
        """Who makes a result."""
        ...

    def counters(self, name: str) -> CounterStore:
        """Return the counters of one limit; each call raises CacheUnavailable when the cache does not answer."""
        ...
