"""Who may compute next: a bounded queue, fair between users."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pycalc.errors import Overloaded


class Admission:
    """Grants ``slots`` places, users taking turns.

    With two slots or more one user holds at most all but one, so that nobody waits for somebody else's whole queue.
    """

    def __init__(self, slots: int, max_waiting: int = 64, max_wait: float = 30.0) -> None:
        self._free = slots
        self._share = max(1, slots - 1)
        self._max_waiting = max_waiting
        self._max_waiting_each = max(1, max_waiting // 2)
        self._max_wait = max_wait
        self._running: Counter[bytes] = Counter()
        self._waiting: OrderedDict[bytes, deque[asyncio.Future[None]]] = OrderedDict()
        self.waiting = 0

    @property
    def running(self) -> int:
        """Places that are taken."""
        return self._running.total()

    @asynccontextmanager
    async def slot(self, user: bytes) -> AsyncIterator[None]:
        """Hold a place; raises Overloaded when the queue is full, for all or for this user, or the wait too long."""
        await self._acquire(user)
        try:
            yield
        finally:
            self._release(user)

    async def _acquire(self, user: bytes) -> None:
        queue = self._waiting.setdefault(user, deque())
        if self.waiting >= self._max_waiting or len(queue) >= self._max_waiting_each:
            self._forget_if_empty(user)
            raise Overloaded("Too many computations are waiting.", 5)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self.waiting += 1
        self._grant()
        try:
            async with asyncio.timeout(self._max_wait):
                await turn
        except BaseException as error:
            self._withdraw(user, turn)
            if isinstance(error, TimeoutError):
                raise Overloaded("The computation waited too long for its turn.", 5) from None
            raise

    def _withdraw(self, user: bytes, turn: asyncio.Future[None]) -> None:
        """Take back a request that nobody waits for any more: granted, still queued, or passed over already."""
        if turn.done() and not turn.cancelled():
            self._release(user)
            return
        queue = self._waiting.get(user, ())
        if turn in queue:
            self._waiting[user].remove(turn)
            self.waiting -= 1
            self._forget_if_empty(user)

    def _release(self, user: bytes) -> None:
        self._running[user] -= 1
        if not self._running[user]:
            del self._running[user]
        self._free += 1
        self._grant()

    def _grant(self) -> None:
        """Give free places to the users whose turn it is."""
        while self._free:
            user = next((user for user in self._waiting if self._running[user] < self._share), None)
            if user is None:
                return
            turn = self._waiting[user].popleft()
            self._waiting.move_to_end(user)
            self._forget_if_empty(user)
            self.waiting -= 1
            if turn.done():  # cancelled, and its caller has not run since
                continue
            self._free -= 1
            self._running[user] += 1
            turn.set_result(None)

    def _forget_if_empty(self, user: bytes) -> None:
        if not self._waiting.get(user, True):
            del self._waiting[user]
