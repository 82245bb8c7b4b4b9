"""A limit on look-ups of credentials, so that a flood of invalid credentials can't overload the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Counter

from pycalc.errors import Overloaded

_MAX_WAITING = 64
_WAIT_SECONDS = 1.0


class LookupLimit:
    """A limit on concurrent look-ups, with a bounded queue and a bounded wait."""

    def __init__(self, at_once: int, refused: Counter) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._refused = refused

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Return the context of a look-up; raises Overloaded if the queue is full or the wait lasts over a second."""
        try:
            if self._waiting >= _MAX_WAITING:
                raise TimeoutError
            self._waiting += 1
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await self._free.acquire()
            finally:
                self._waiting -= 1
        except TimeoutError:
            self._refused.inc()
            raise Overloaded("Too many credentials are being looked up; retry in 1 s.") from None
        try:
            yield
        finally:
            self._free.release()
