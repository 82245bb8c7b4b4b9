"""Results that many ask for and that may be a moment old."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The result of a call, which is made anew when it is older than ``seconds``.

    However many ask, one call is under way; its error is kept as its result would be. A caller that is cancelled does
    not end it.
    """

    def __init__(
        self, call: Callable[[], Awaitable[T]], seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        """``clock`` tells seconds, from whenever."""
        self._call = call
        self._seconds = seconds
        self._clock = clock
        self._result: asyncio.Future[T] | None = None
        self._until = 0.0

    async def get(self) -> T:
        """Return the result; raises what the call raised."""
        if self._result is None or (self._result.done() and self._clock() >= self._until):
            self._until = self._clock() + self._seconds
            self._result = asyncio.ensure_future(self._made())
        return await asyncio.shield(self._result)

    async def _made(self) -> T:
        return await self._call()
