"""Concurrency limits: one that shares its slots fairly between users or addresses, and one with a queue (ADR 18)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from prometheus_client import Counter

from pycalc.errors import Overloaded
from pycalc.observability.metrics import Metrics

# Responses up to this size are not counted, to save time. The limit on connections bounds their memory.
UNCOUNTED_BYTES = 64 * 1024


class ConcurrencyLimit:
    """A limit on the slots that keys, such as user ids, hold at the same time.

    A key gets another slot only if more slots are free than the key holds. So a single key gets about half of all
    slots, and each of two keys about a third. A key without a slot gets any free slot. A slot may have a size, such as
    a number of bytes; it is at least 1. Any thread may take and release slots.
    """

    def __init__(self, total: int, refused: Counter, detail: str, *, each: int | None = None, seconds: int = 5) -> None:
        """Limit the slots of all keys together to ``total``, and those of one key to ``each``, by default ``total``.

        A refusal has the message ``detail``, and tells the client to retry after ``seconds``.
        """
        self.total = total
        self._each = total if each is None else each
        self._refused = refused
        self._detail = detail
        self._seconds = seconds
        self._taken_by: dict[Hashable, int] = {}
        self._lock = Lock()
        self.taken = 0

    def acquire(self, key: Hashable, amount: int = 1) -> Slot:
        """Return a slot of size ``amount`` for a key. Raises Overloaded if the key may not hold that much more now."""
        slot = self.try_acquire(key, amount)
        if slot is None:
            self._refused.inc()
            raise Overloaded(self._detail, self._seconds)
        return slot

    def try_acquire(self, key: Hashable, amount: int = 1) -> Slot | None:
        """Return a slot as ``acquire`` does, or None if the key may not hold that much more now. Count no refusal."""
        with self._lock:
            taken = self._taken_by.get(key, 0) + amount
            if taken > self._each or taken > self.total - self.taken:
                return None
            self._taken_by[key] = taken
            self.taken += amount
        return Slot(self._release, key, amount)

    def take(self, key: Hashable, amount: int = 1) -> Slot:
        """Return a slot of size ``amount`` for a key, even beyond the limit, for work that can no longer be refused."""
        with self._lock:
            self._taken_by[key] = self._taken_by.get(key, 0) + amount
            self.taken += amount
        return Slot(self._release, key, amount)

    def require_free(self, amount: int) -> None:
        """Raise Overloaded if less than ``amount`` of the total is free; no slot is taken."""
        if self.taken + amount > self.total:
            self._refused.inc()
            raise Overloaded(self._detail, self._seconds)

    def _release(self, key: Hashable, amount: int) -> None:
        with self._lock:
            self.taken -= amount
            self._taken_by[key] -= amount
            if not self._taken_by[key]:
                del self._taken_by[key]


@dataclass(eq=False, slots=True)
class Slot:
    """A slot of a ConcurrencyLimit, held until ``release``, or until the end of a ``with`` statement for the slot."""

    _release: Callable[[Hashable, int], None]
    _key: Hashable
    _amount: int

    def release(self) -> None:
        """Return the slot to its ConcurrencyLimit. Releasing it again does nothing."""
        amount, self._amount = self._amount, 0
        if amount:
            self._release(self._key, amount)

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(eq=False, slots=True)
class _Queue:
    free: asyncio.Semaphore
    entered: int = 0  # the callers that hold a slot or wait


class QueueingLimit:
    """A limit on the concurrent work of each key, with a bounded queue for each, and a bounded wait."""

    def __init__(self, at_once: int, most: int, seconds: float, refused: Counter, detail: str) -> None:
        """Let ``at_once`` callers of a key hold a slot, and others wait for up to ``seconds``: together ``most``."""
        self._at_once = at_once
        self._most = most
        self._seconds = seconds
        self._refused = refused
        self._detail = detail
        self._queues: dict[Hashable, _Queue] = {}  # of keys with callers

    @asynccontextmanager
    async def slot(self, key: Hashable = None) -> AsyncIterator[None]:
        """Wait for a slot, and return its context; raises Overloaded if the queue is full or the wait is too long."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(asyncio.Semaphore(self._at_once))
        if queue.entered >= self._most:
            raise self._refusal()
        queue.entered += 1
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await queue.free.acquire()
            except TimeoutError:
                raise self._refusal() from None
            try:
                yield
            finally:
                queue.free.release()
        finally:
            queue.entered -= 1
            if not queue.entered:
                del self._queues[key]

    def _refusal(self) -> Overloaded:
        self._refused.inc()
        return Overloaded(self._detail)


def lookup_limit(at_once: int, refused: Counter) -> QueueingLimit:
    """Return a limit on look-ups of credentials. A flood of invalid credentials must not overload the database."""
    detail = "Too many credentials are being looked up; retry in 1 s."
    return QueueingLimit(at_once, at_once + 64, 1.0, refused, detail)


class ReadingSpeed(NamedTuple):
    """The slowest speed at which clients may read responses: ``rate`` bytes a second, after ``seconds`` of grace."""

    seconds: float
    rate: float


def response_memory(metrics: Metrics, total: int) -> ConcurrencyLimit:
    """Return a limit of ``total`` bytes on the memory of long responses and long request bodies.

    The memory of a response counts from before the response is built until its last byte is sent.
    """
    refused = metrics.requests_refused.labels("memory")
    limit = ConcurrencyLimit(total, refused, "Too many long responses are being made or sent.")
    metrics.response_bytes.set_function(lambda: limit.taken)
    return limit
