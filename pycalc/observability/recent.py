"""A cache for the latest result of a function."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Recent(Generic[T]):
    """A cache for the latest result or error of ``call``, which is called again ``seconds`` after the last call began.

    Concurrent callers share one call. The call goes on if a caller is cancelled.
    """

    call: Callable[[], Awaitable[T]]
    seconds: float
    clock: Callable[[], float] = monotonic
    _result: asyncio.Future[T] | None = field(default=None, init=False)
    _until: float = field(default=0.0, init=False)

    async def get(self) -> T:
        """Return the result of the function, or raise its error, from the cache or from a new call."""
        if self._result is None or (self._result.done() and self.clock() >= self._until):
            self._until = self.clock() + self.seconds
            self._result = asyncio.ensure_future(self.call())
        return await asyncio.shield(self._result)
