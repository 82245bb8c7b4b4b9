"""Turns on the event loop: work that holds it does so in small portions, between which everybody else is heard."""

from __future__ import annotations

import asyncio
from collections import deque

_PORTION = 0.002
"""Seconds of work, as estimated, that are let through in one round of the loop."""


class Turns:
    """Lets work through in the order of its coming, a portion in each round of the loop.

    Without it, what arrived together would run together, and who comes next, if only to be refused, would wait for all.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()

    async def turn(self, seconds: float) -> None:
        """Return when work that holds the loop for about so long may run."""
        mine: asyncio.Future[None] = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._let_through)
        self._waiting.append((seconds, mine))
        await mine

    def _let_through(self) -> None:
        portion = _PORTION
        while self._waiting and portion > 0:
            seconds, turn = self._waiting.popleft()
            if not turn.done():  # else its caller has gone
                turn.set_result(None)
                portion -= seconds
        if self._waiting:
            self._loop.call_soon(self._let_through)
