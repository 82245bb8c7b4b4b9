"""Times that tell nothing: how long a refusal takes must not say why it is one (ADR 13)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from random import SystemRandom
from time import perf_counter

from pycalc.errors import Conflict

_BLUR_SECONDS = 0.02
_REMEMBERED = 64
_LONGEST_SECONDS = 1.0

_random = SystemRandom()


async def blur(since: float = 0.0, clock: Callable[[], float] = perf_counter) -> None:
    """Wait for that moment of the clock, in seconds, then up to 20 ms at random.

    Microseconds of difference drown in that for as many tries as the limits allow.
    """
    now = clock()
    await asyncio.sleep(max(since, now) - now + _random.uniform(0, _BLUR_SECONDS))


class Pace:
    """Lets a conflict take as long as what would have been done: that is durable on disk, a conflict is not."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._taken: deque[float] = deque(maxlen=_REMEMBERED)

    async def keep(self, work: Coroutine[None, None, None]) -> None:
        """Do the work; when it raises Conflict, wait until as much time has passed as a former success took.

        A success is blurred like a conflict: timers round up to whole milliseconds, which would tell who waited.
        """
        began = self._clock()
        try:
            await work
        except Conflict:
            await blur(began + _random.choice(self._taken or (0.0,)), self._clock)
            raise
        self._taken.append(min(_LONGEST_SECONDS, self._clock() - began))
        await blur()
