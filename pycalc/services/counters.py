"""What the limits count with: counters in this process, bounded (ADR 12)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from heapq import nsmallest
from math import ceil
from operator import itemgetter
from time import monotonic

from limits.aio.storage import Storage

MAX_KEYS = 50_000
"""Counters that each limit keeps."""


class Counters(Storage):
    """A storage for the strategies of ``limits``: counters in this process that expire, never more than ``bound``.

    The library's own in-memory storage holds any number of keys and walks over all of them at each hit. Here a key
    that is one too many sweeps out what has expired, or else the tenth that expires soonest. Nothing here waits, so a
    test and the hit that follows it are one step. A key is kept as its digest: clients choose how long their names are.
    """

    STORAGE_SCHEME = None

    def __init__(self, bound: int = MAX_KEYS, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` tells seconds, from whenever."""
        super().__init__()
        self.clock = clock
        self._bound = bound
        self._counts: dict[bytes, int] = {}
        self._expiries: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        digest = _digest(key)
        if not self._current(digest):
            if len(self._counts) >= self._bound:
                self._make_room()
            self._counts[digest] = 0
            self._expiries[digest] = self.clock() + expiry
        self._counts[digest] += amount
        return self._counts[digest]

    async def get(self, key: str) -> int:
        return self._current(_digest(key))

    async def get_expiry(self, key: str) -> float:
        return self._expiries.get(_digest(key), self.clock())

    async def check(self) -> bool:
        return True

    async def reset(self) -> int:
        held = len(self._counts)
        self._counts.clear()
        self._expiries.clear()
        return held

    async def clear(self, key: str) -> None:
        self._forget(_digest(key))

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


def _digest(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
