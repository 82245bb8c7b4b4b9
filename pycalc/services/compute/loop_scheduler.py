"""A scheduler that splits work on the event loop into short time slices, so that other tasks run between them."""

from __future__ import annotations

import asyncio
from collections import deque

_SLICE_SECONDS = 0.002  # after this much estimated work, further work waits for the next iteration of the loop


class LoopScheduler:
    """A first-in, first-out queue that admits about 2 ms of work in each iteration of the event loop.

    Without the queue, later requests, even those that are refused at once, would wait for all work that arrived before.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()

    async def time_slice(self, seconds: float) -> None:
        """Wait for the caller's turn. Afterwards, the caller may block the event loop for about ``seconds``."""
        admitted: asyncio.Future[None] = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._admit)
        self._waiting.append((seconds, admitted))
        await admitted

    def _admit(self) -> None:
        left = _SLICE_SECONDS
        while self._waiting and left > 0:
            seconds, admitted = self._waiting.popleft()
            if not admitted.done():  # a caller that was cancelled has left the queue
                admitted.set_result(None)
                left -= seconds
        if self._waiting:
            self._loop.call_soon(self._admit)
