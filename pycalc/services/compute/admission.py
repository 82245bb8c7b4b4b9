"""Admission of computations to the worker processes, through a bounded queue that is fair between users."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pycalc.errors import Overloaded
from pycalc.observability.metrics import CalculationMetrics

_REMEMBERED = 1_024  # users whose last slot is remembered; any other user counts as new, and so is first in turn
_RETRY_SECONDS = 5


class Admission:
    """A queue for a number of slots. A free slot goes to the waiting user whose last slot was longest ago.

    If there are two slots or more, one user gets at most all but one of them. One user's requests fill at most half of
    the queue.

    If the queue is full, the user of a new request is compared with the user who has the most waiting requests. The new
    request counts as waiting. It displaces the other user's newest request if its own user has fewer waiting requests,
    or equally many waiting and fewer running ones. Otherwise, it is refused.
    """

    def __init__(self, metrics: CalculationMetrics, slots: int, max_waiting: int = 64, max_wait: float = 30.0) -> None:
        """Let up to ``max_waiting`` requests wait for one of ``slots`` slots, each for up to ``max_wait`` seconds."""
        self._free = slots
        self._share = max(1, slots - 1)
        self._max_waiting = max_waiting
        self._max_waiting_each = max(1, max_waiting // 2)
        self._max_wait = max_wait
        self._refused = metrics.compute_refused
        self._running: Counter[bytes] = Counter()
        self._waiting: dict[bytes, deque[asyncio.Future[None]]] = {}
        self._served: dict[bytes, int] = {}  # the number of each user's last slot, in the order of these numbers
        self._slots_granted = 0
        self.waiting = 0

    @property
    def running(self) -> int:
        """Return the number of slots in use."""
        return self._running.total()

    @asynccontextmanager
    async def slot(self, user: bytes) -> AsyncIterator[None]:
        """Wait for a slot for a user, and return a context that holds it.

        Raises Overloaded if the queue has no room for the request, if the wait exceeds ``max_wait`` seconds, or if
        another user's request displaces this one while it waits.
        """
        self._make_room(user)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(granted)
        self.waiting += 1
        self._grant()
        try:
            async with asyncio.timeout(self._max_wait):
                await granted
        except BaseException as error:
            # The request was granted meanwhile, or it is still in the queue, or it was displaced and needs no clean-up.
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self._release(user)
            elif granted in self._waiting.get(user, ()):
                self._waiting[user].remove(granted)
                self._left_queue(user)
            if isinstance(error, TimeoutError):
                raise self._refusal("wait", "The computation waited too long for a worker process") from None
            raise
        try:
            yield
        finally:
            self._release(user)

    def _make_room(self, user: bytes) -> None:
        """If the queue is full, displace another user's request. Raises Overloaded if there is no room for this one."""
        waiting = len(self._waiting.get(user, ()))
        if waiting >= self._max_waiting_each:
            raise self._refusal("queue", "Too many of your computations are waiting")
        if self.waiting < self._max_waiting:
            return
        most = max(self._waiting, key=self._demand)
        if self._demand(most) <= (waiting + 1, self._running[user]):
            raise self._refusal("queue", "Too many computations are waiting")
        displaced = self._waiting[most].pop()
        self._left_queue(most)
        if not displaced.done():  # if done, it was cancelled, and its task has not run since
            detail = "Too many computations are waiting, and most of them are yours"
            displaced.set_exception(self._refusal("displaced", detail))

    def _demand(self, user: bytes) -> tuple[int, int]:
        return len(self._waiting[user]), self._running[user]

    def _refusal(self, reason: str, detail: str) -> Overloaded:
        self._refused.labels(reason).inc()
        return Overloaded(f"{detail}; retry in {_RETRY_SECONDS} s.", _RETRY_SECONDS)

    def _release(self, user: bytes) -> None:
        self._running[user] -= 1
        if not self._running[user]:
            del self._running[user]
        self._free += 1
        self._grant()

    def _grant(self) -> None:
        """Give the free slots to the waiting users whose last slot was longest ago."""
        while self._free:
            eligible = [user for user in self._waiting if self._running[user] < self._share]
            if not eligible:
                return
            user = min(eligible, key=lambda user: self._served.get(user, 0))
            granted = self._waiting[user].popleft()
            self._left_queue(user)
            if granted.done():  # cancelled, and its task has not run since
                continue
            self._free -= 1
            self._running[user] += 1
            self._slots_granted += 1
            self._served.pop(user, None)
            self._served[user] = self._slots_granted
            if len(self._served) > _REMEMBERED:
                del self._served[next(iter(self._served))]
            granted.set_result(None)

    def _left_queue(self, user: bytes) -> None:
        """Update the numbers after one of the user's requests was taken out of the queue."""
        self.waiting -= 1
        if not self._waiting[user]:
            del self._waiting[user]
