"""Single flight: what several callers want at once is made once, in this process and in all of them (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Generic, NamedTuple, Protocol, TypeVar

from pycalc.backoff import full_jitter
from pycalc.cache.base import Claim, Leases
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics
from pycalc.services.compute.plan import Plan

T = TypeVar("T")

_EXPENSIVE_SECONDS = 0.02
"""What takes less is made twice sooner than two processes agree on who makes it."""
_PATIENCE = 5
_PATIENCE_SECONDS = 0.5
"""Another process is waited for so many times as long as the result should take, and this, but not past a deadline.

Estimates are right within a factor of two, and its worker may have to start; but it may be gone, or have a queue.
"""
_DEAF_SECONDS = 0.25
"""Who waits already is not put off by a cache that does not answer for a moment."""
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.1


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


class Found(NamedTuple):
    """A result, and whether a cache had it or it was made now."""

    result: Result
    cached: bool


LookUp = Callable[[], Awaitable[Result | None]]
"""Returns a result from the cache."""
Make = Callable[[], Awaitable[Result]]
"""Returns a result, having put it into the cache."""


class Fleet(Protocol):
    """Says who of several processes makes a result."""

    async def join(self, plan: Plan, look_up: LookUp, make: Make) -> Found:
        """Return a plan's result: what is looked up, or else made, in this process or another one."""
        ...


class Alone:
    """There is only this process."""

    async def join(self, plan: Plan, look_up: LookUp, make: Make) -> Found:
        """See Fleet."""
        return await _looked_up_or_made(look_up, make)


async def _looked_up_or_made(look_up: LookUp, make: Make) -> Found:
    result = await look_up()
    return Found(await make(), cached=False) if result is None else Found(result, cached=True)


class FleetFlights:
    """Single flight across processes: one makes a result, the others wait for what it puts into the cache.

    They wait without a place in any queue of this process, for a few times as long as it should take. Who asks for a
    lease is told of the result, so that what is expensive is not looked up before.
    """

    def __init__(self, leases: Leases, metrics: Metrics, longest: float) -> None:
        """``longest``: seconds for which another process is waited for at most."""
        self._leases = leases
        self._longest = longest
        self._errors = metrics.cache_errors
        self._led, self._handed, self._late, self._alone = (
            metrics.flights_shared.labels(outcome) for outcome in ("led", "handed", "late", "alone")
        )

    async def join(self, plan: Plan, look_up: LookUp, make: Make) -> Found:
        """See Fleet."""
        if plan.seconds < _EXPENSIVE_SECONDS or not self._leases.hands_on(plan.digits):
            return await _looked_up_or_made(look_up, make)
        claim = self._leases.claim(plan.key)
        try:
            result = await self._claimed(claim, plan)
            return Found(await make(), cached=False) if result is None else Found(result, cached=True)
        finally:
            claim.release()

    async def _claimed(self, claim: Claim, plan: Plan) -> Result | None:
        """Return what is in the cache or comes into it; None when it is to be made here."""
        deadline = monotonic() + min(self._longest, _PATIENCE_SECONDS + _PATIENCE * plan.seconds)
        tries = 0
        heard = -inf
        while monotonic() < deadline:
            tries += 1
            waited = heard > 0
            try:
                turn, heard = await claim.take(), monotonic()
            except CacheUnavailable:
                if monotonic() - heard > _DEAF_SECONDS:
                    self._errors.inc()
                    self._alone.inc()
                    return None
                turn = False
            if turn is True:
                self._led.inc()
                return None
            if turn is not False:
                if waited:
                    self._handed.inc()
                return turn
            await asyncio.sleep(full_jitter(tries, _LONGEST_PAUSE, _FIRST_PAUSE))
        self._late.inc()
        return None
