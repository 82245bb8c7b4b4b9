"""Admission of computations to the worker processes, through a bounded queue that is fair between users."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from pycalc.errors import Overloaded
from pycalc.observability.metrics import CalculationMetrics

_REMEMBERED = 1_024  # users whose last slot is remembered; any other user counts as new, and so is first in turn
_RETRY_SECONDS = 5


@dataclass(eq=False, slots=True)
class _Request:
    """A request for a slot, which waits in the queue of each of its users."""

    key: str | None  # of a computation that several users may want
    granted: asyncio.Future[bytes]  # the user who got the slot
    users: list[bytes] = field(default_factory=list)  # empty once the request has left the queues


class Admission:
    """A queue for a number of slots. A free slot goes to the waiting user whose last slot was longest ago.

    One user never gets all slots, unless there is only one slot. One user's requests fill at most half of the queue.

    If several users want the same computation, its request waits in the queue of each of them. So a user never waits
    behind other requests of the user who asked for the computation first.

    If the queue is full, a new request may displace the newest request of the user who has the most waiting requests.
    For this, its own user must have fewer waiting requests, the new one included, or equally many waiting and fewer
    running ones. Otherwise, the new request is refused.
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
        self._waiting: dict[bytes, deque[_Request]] = {}
        self._requests: dict[str, _Request] = {}  # those that wait, by their keys
        self._wanted: dict[str, Counter[bytes]] = {}  # how many callers of each user want a computation, by its key
        self._served: dict[bytes, int] = {}  # the number of each user's last slot, in the order of these numbers
        self._slots_granted = 0
        self.waiting = 0  # a request of several users counts once for each

    @property
    def running(self) -> int:
        """Return the number of slots in use."""
        return self._running.total()

    @contextmanager
    def wanted(self, key: str, user: bytes) -> Iterator[None]:
        """Return a context in which a user waits for the computation with this key, whoever calls ``slot`` for it.

        If the computation waits for a slot, its request also joins this user's queue, unless there is no room.
        """
        users = self._wanted.setdefault(key, Counter())
        users[user] += 1
        request = self._requests.get(key)
        if request is not None and user not in request.users:
            self._enqueue(request, user)
            self._grant()
        try:
            yield
        finally:
            users[user] -= 1
            if not users[user]:
                del users[user]
                request = self._requests.get(key)
                if request is not None and user in request.users and len(request.users) > 1:
                    self._dequeue(request, user)
            if not users:
                del self._wanted[key]

    @asynccontextmanager
    async def slot(self, user: bytes, key: str | None = None) -> AsyncIterator[None]:
        """Wait for a slot for a user, and return a context that holds it.

        The request also joins the queues of all users who are, or come to be, in the context ``wanted`` for this key.
        Of several requests with the same key, only the newest one does.

        Raises Overloaded if the queue has no room, if the wait exceeds ``max_wait`` seconds, or if another user's
        request displaces this one.
        """
        request = _Request(key, asyncio.get_running_loop().create_future())
        reason = self._enqueue(request, user)
        if reason is not None:
            raise self._refusal("queue", reason)
        if key is not None:
            self._requests[key] = request
            for other in self._wanted.get(key, ()):
                if other != user:
                    self._enqueue(request, other)
        self._grant()
        granted = request.granted
        try:
            async with asyncio.timeout(self._max_wait):
                holder = await granted
        except BaseException as error:
            # The request was granted meanwhile, or it is still in the queue, or it was displaced and needs no clean-up.
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self._release(granted.result())
            else:
                self._leave_queue(request)
            if isinstance(error, TimeoutError):
                raise self._refusal("wait", "The computation waited too long for a worker process") from None
            raise
        try:
            yield
        finally:
            self._release(holder)

    def _enqueue(self, request: _Request, user: bytes) -> str | None:
        """Add a request to a user's queue, by the rules of ``Admission``. Return the reason if there is no room."""
        waiting = len(self._waiting.get(user, ()))
        if waiting >= self._max_waiting_each:
            return "Too many of your computations are waiting"
        if self.waiting >= self._max_waiting:
            most = max(self._waiting, key=self._demand)
            if self._demand(most) <= (waiting + 1, self._running[user]):
                return "Too many computations are waiting"
            displaced = self._waiting[most][-1]
            self._dequeue(displaced, most)
            # If ``granted`` is done, the request was cancelled, and its task has not run since.
            if not displaced.users and not displaced.granted.done():
                detail = "Too many computations are waiting, and most of them are yours"
                displaced.granted.set_exception(self._refusal("displaced", detail))
        if not request.granted.done():  # if done, it has just been displaced
            self._waiting.setdefault(user, deque()).append(request)
            request.users.append(user)
            self.waiting += 1
        return None

    def _dequeue(self, request: _Request, user: bytes) -> None:
        self._waiting[user].remove(request)
        self.waiting -= 1
        if not self._waiting[user]:
            del self._waiting[user]
        request.users.remove(user)
        if not request.users and request.key is not None and self._requests.get(request.key) is request:
            del self._requests[request.key]

    def _leave_queue(self, request: _Request) -> None:
        """Remove a request from the queues of all users who wait for it."""
        for user in tuple(request.users):
            self._dequeue(request, user)

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
            request = self._waiting[user][0]
            self._leave_queue(request)
            if request.granted.done():  # cancelled, and its task has not run since
                continue
            self._free -= 1
            self._running[user] += 1
            self._slots_granted += 1
            self._served.pop(user, None)
            self._served[user] = self._slots_granted
            if len(self._served) > _REMEMBERED:
                del self._served[next(iter(self._served))]
            request.granted.set_result(user)
