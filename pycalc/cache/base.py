"""Protocols of a cache, and of the counters, leases and notifications that processes share through one."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from math import inf
from typing import NamedTuple, Protocol, runtime_checkable

from pycalc.models.results import Result

LOCAL_TIER = 0.0  # the cost with which ``get`` looks in the local tier only


class Cache(Protocol):
    """A store of results by their canonical key, bounded in bytes. A look-up returns what was put there, or None."""

    async def get(self, key: str, cost: float = inf) -> Result | None:
        """Return the result under a key; raises CacheUnavailable when the cache does not answer.

        ``cost`` is the time in seconds to compute the result. A tier whose look-up takes longer is skipped.
        """

    async def put(self, key: str, result: Result, cost: float = inf) -> None:
        """Keep a result if it fits and is worth keeping; raises CacheUnavailable when the cache does not answer."""

    async def ping(self) -> None:
        """Check that the cache answers; raises CacheUnavailable if not."""

    async def aclose(self) -> None:
        """Close the cache."""


class Spent(NamedTuple):
    """The outcome of spending: whether it was counted, the count now, and the seconds until the counter expires."""

    allowed: bool
    used: int
    seconds: float


def counter_digest(key: str) -> bytes:
    """Return a counter's key: a digest, because clients choose the length and the characters of their names."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class CounterStore(Protocol):
    """Counters that expire some time after they begin, and are never below zero."""

    @property
    def clock(self) -> Callable[[], float]:
        """Return the clock of ``get_expiry``: a function that returns seconds since an arbitrary moment."""

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter and return the count; a new counter lives for ``expiry`` seconds."""

    async def spend(self, key: str, expiry: float, amount: int, limit: int) -> Spent:
        """Add all of the amount to a counter, or nothing when that would exceed the limit."""

    async def get(self, key: str) -> int:
        """Return the count, 0 when there is no such counter."""

    async def get_expiry(self, key: str) -> float:
        """Return the time by ``clock`` at which a counter expires; the present time if there is no such counter."""

    async def clear(self, key: str) -> None:
        """Delete a counter."""


class RevocationNotifications(Protocol):
    """Notifications of revocations between processes: quick, but not guaranteed to arrive."""

    def publish(self) -> None:
        """Notify all processes that somebody has lost a right; returns at once."""

    def listen(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` whenever there may be a revocation, until the cache is closed."""


class Claim(Protocol):
    """A request for the lease on a result: whoever holds the lease computes the result."""

    async def take(self) -> Result | bool:
        """Return the stored result; if there is none, try to take the lease, and return whether this claim holds it.

        The lease is held until it is released or its process is gone. After CacheUnavailable it is not known whether
        this claim holds it.
        """

    def release(self) -> None:
        """Release the lease once the result that was put before is stored or dropped; returns at once."""


class Leases(Protocol):
    """Leases, by which one of several processes computes a result that all of them want."""

    def hands_on(self, digits: int) -> bool:
        """Return whether a result of so many digits is short enough to be stored for other processes."""

    def claim(self, key: str) -> Claim:
        """Return a claim to the result under a key, without asking yet; the caller releases it in the end."""


@runtime_checkable
class Shared(Protocol):
    """A cache that several processes share."""

    @property
    def revocations(self) -> RevocationNotifications:
        """Return the notifications of revocations."""

    @property
    def leases(self) -> Leases:
        """Return the leases on results."""

    def counters(self, name: str) -> CounterStore:
        """Return the counters of one limit; each call raises CacheUnavailable when the cache does not answer."""
