"""Single flight: what several callers want at once is made once, in this process and in all of them (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from math import inf
from random import uniform
from time import monotonic
from typing import Generic, NamedTuple, Protocol, TypeVar

from pycalc.cache.base import Lease, Leases
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics
from pycalc.services.planning import Plan

T = TypeVar("T")

_EXPENSIVE_SECONDS = 0.02
"""What takes less is made twice sooner than two processes agree on who makes it."""
_PATIENCE = 5
_PATIENCE_SECONDS = 5.0
"""Another process is waited for so many times as long as the result should take, and this, but not past a deadline."""
_DEAF_SECONDS = 0.25
"""Who waits already is not put off by a cache that does not answer for a moment."""
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.05


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class Flights(Generic[T]):
    """Work under way, by key; bounded by the callers who wait for it."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    def under_way(self, key: str) -> bool:
        """Whether somebody has begun this."""
        return key in self._flights

    async def join(self, key: str, start: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return what the work under ``key`` returns or raises, begun by this call or an earlier one.

        The work is cancelled when the last of its callers has gone; who comes after that begins anew.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(start()))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.task.cancel()
            if (not flight.waiting or flight.task.done()) and self._flights.get(key) is flight:
                del self._flights[key]


class Joined(NamedTuple):
    """A result, and whether another process had made it, and handed it over."""

    result: Result
    handed: bool


class Fleet(Protocol):
    """Says who of several processes makes a result."""

    async def join(self, plan: Plan, make: Callable[[], Awaitable[Result]]) -> Joined:
        """Return a plan's result: what ``make`` returns, having put it into the cache, here or in another process."""
        ...


class Alone:
    """There is only this process."""

    async def join(self, plan: Plan, make: Callable[[], Awaitable[Result]]) -> Joined:
        return Joined(await make(), handed=False)


class FleetFlights:
    """Single flight across processes: one makes a result, the others wait for what it puts into the cache.

    They wait without a place in any queue of this process, for a few times as long as it should take.
    """

    def __init__(self, leases: Leases, metrics: Metrics, longest: float) -> None:
        """``longest``: seconds for which another process is waited for at most."""
        self._leases = leases
        self._longest = longest
        self._led, self._handed, self._late, self._alone = (
            metrics.flights_shared.labels(outcome) for outcome in ("led", "handed", "late", "alone")
        )

    async def join(self, plan: Plan, make: Callable[[], Awaitable[Result]]) -> Joined:
        if plan.seconds < _EXPENSIVE_SECONDS or not self._leases.hands_on(plan.digits):
            return Joined(await make(), handed=False)
        deadline = monotonic() + min(self._longest, _PATIENCE_SECONDS + _PATIENCE * plan.seconds)
        heard, pause = -inf, _FIRST_PAUSE
        while monotonic() < deadline:
            try:
                turn, heard = await self._leases.take(plan.key), monotonic()
            except CacheUnavailable:
                if monotonic() - heard > _DEAF_SECONDS:
                    self._alone.inc()
                    return Joined(await make(), handed=False)
                turn = None
            if isinstance(turn, Result):
                self._handed.inc()
                return Joined(turn, handed=True)
            if turn is not None:
                self._led.inc()
                return Joined(await _under(turn, make), handed=False)
            await asyncio.sleep(pause * uniform(0.5, 1.0))  # noqa: S311  # those who wait need not ask together
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._late.inc()
        return Joined(await make(), handed=False)


async def _under(lease: Lease, make: Callable[[], Awaitable[Result]]) -> Result:
    try:
        return await make()
    finally:
        lease.release()
