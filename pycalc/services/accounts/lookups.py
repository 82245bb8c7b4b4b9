"""Look-ups of credentials that anybody may invent: a few at a time, so that a flood leaves the readers to others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Counter

from pycalc.errors import Overloaded

_WAITING = 64
_WAIT_SECONDS = 1.0


class Lookups:
    """A limit on look-ups under way; more wait, for a second at most, and what is too much is refused and counted."""

    def __init__(self, at_once: int, refused: Counter) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._refused = refused

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Return the context of one look-up; raises Overloaded."""
        if self._waiting >= _WAITING:
            raise self._overloaded()
        self._waiting += 1
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise self._overloaded() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()

    def _overloaded(self) -> Overloaded:
        self._refused.inc()
        return Overloaded("Too many credentials are being looked up; retry in 1 s.")
