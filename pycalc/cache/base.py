"""The interfaces of a cache, and of the counters, leases and notifications that a shared cache provides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import inf
from sys import maxsize
from typing import NamedTuple, Protocol, runtime_checkable

from pycalc.models.results import Result

LOCAL_TIER = 0.0  # with this cost, ``get`` looks only in the local tier


class Cache(Protocol):
    """A store of results, bounded in bytes. Local memory is one tier, and a shared store such as Redis another."""

    async def get(self, key: str, cost: float = inf) -> Result | None:
        """Return the result under a key, or None if there is none.

        A shared tier whose look-up takes longer than ``cost``, the estimated seconds to compute the result, is skipped.
        Raises CacheUnavailable if a shared tier does not answer or can't be used.
        """

    async def put(self, key: str, result: Result, cost: float = inf) -> None:
        """Store a result in the local tier, and in a shared tier if a look-up there takes less than ``cost`` seconds.

        A tier may store the result later, in the background, or drop it, for example because it has no room.
        """

    async def ping(self) -> None:
        """Check that the cache answers; raises CacheUnavailable if not."""

    async def aclose(self) -> None:
        """Close the cache."""


class Bound(NamedTuple):
    """A counter's key, its time to live in seconds from its first increment, and the limit of its count."""

    key: str
    expiry: float
    limit: int = maxsize


class Spent(NamedTuple):
    """The state of a counter after ``CounterStore.spend``."""

    allowed: bool  # whether this counter has room for the amount
    used: int  # the count now; some stores return the limit for a count above it
    seconds: float  # until the counter expires; 0 if there is none


def counter_digest(key: str) -> bytes:
    """Return a digest of a counter's key, which may contain a client's text of any length and characters."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class CounterStore(Protocol):
    """Counters that expire a fixed time after their first increment from zero, and never fall below zero."""

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        """Add ``amount`` to the counters of all ``bounds``, or to none if one would exceed its limit.

        ``amount`` may be negative or 0. Return the states of the counters, in the order of ``bounds``. Some stores
        round expiries down to whole seconds.
        """

    async def clear(self, *keys: str) -> None:
        """Delete counters."""


class RevocationNotifications(Protocol):
    """Notifications between processes that a user's access was revoked or changed. They are fast, but may be lost."""

    def publish(self) -> None:
        """Notify all processes of a revocation, in the background."""

    def listen(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` after each notification, and whenever one may have been lost, until the cache is closed."""


class Claim(Protocol):
    """A request for the lease on a result. The holder of the lease computes the result."""

    async def take(self) -> Result | bool:
        """Return the stored result. If there is none, try to take the lease, and return whether this request holds it.

        A damaged result is deleted, and False is returned. The lease is renewed until ``release``, and expires if its
        process dies. Raises CacheUnavailable if the cache does not answer; the lease may have been taken even so.
        """

    def release(self) -> None:
        """Release the lease in the background. If the result is being stored, release the lease after that."""


class Leases(Protocol):
    """Leases on results: of several processes that need the same result, only the holder of its lease computes it."""

    def is_storable(self, digits: int) -> bool:
        """Return whether a result of ``digits`` digits is short enough to be stored for other processes."""

    def claim(self, key: str) -> Claim:
        """Return a request for the lease on a result, without sending it. The caller must ``release`` it in the end."""


@runtime_checkable
class Shared(Leases, Protocol):
    """A cache that several processes share."""

    @property
    def revocations(self) -> RevocationNotifications:
        """Return the notifications of revocations."""

    def counters(self, name: str) -> CounterStore:
        """Return the counters of the limit ``name``. They raise CacheUnavailable if the cache does not answer."""
