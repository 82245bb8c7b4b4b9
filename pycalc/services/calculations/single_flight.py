"""Single flight: work that several callers want at once is done once, in this process and among all processes."""

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

# Cheaper results are not coordinated: computing them twice is faster than taking a lease.
_EXPENSIVE_SECONDS = 0.02
# The wait for another process is this many times the estimate, plus a constant, and never past the deadline.
# Estimates are right within a factor of two and a worker may have to start; but the process may be gone or busy.
_WAIT_FACTOR = 5
_WAIT_SECONDS = 0.5
# A waiting caller tolerates a cache outage of this length, then computes the result itself.
_CACHE_OUTAGE_SECONDS = 0.25
_FIRST_POLL_INTERVAL = 0.01
_LONGEST_POLL_INTERVAL = 0.05


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class SingleFlight(Generic[T]):
    """The work under way in this process, by key; bounded by the callers who wait for it."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    def under_way(self, key: str) -> bool:
        """Return whether the work under a key has begun."""
        return key in self._flights

    async def join(self, key: str, start: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return or raise the outcome of the work under ``key``; start the work when it is not under way.

        The work is cancelled when its last caller is cancelled; a later caller starts it again.
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
    """A result; ``cached`` is false when it was computed for this call."""

    result: Result
    cached: bool


LookUp = Callable[[], Awaitable[Result | None]]  # returns a result from the cache
Make = Callable[[], Awaitable[Result]]  # computes a result and puts it into the cache


class Coordination(Protocol):
    """A rule for which of several processes computes a result."""

    async def join(self, plan: Plan, look_up: LookUp, make: Make) -> Found:
        """Return a plan's result: looked up, or computed in this process or another one."""
        ...


class NoCoordination:
    """The rule for a single process, which computes all that the cache does not have."""

    async def join(self, plan: Plan, look_up: LookUp, make: Make) -> Found:
        result = await look_up()
        return Found(await make(), cached=False) if result is None else Found(result, cached=True)


class LeaseCoordination:
    """Single flight among processes: the holder of a lease computes, the others poll the shared cache.

    Waiting callers take no place in any queue of this process, and wait for a few times the estimated duration.
    The reply to a request for a lease contains the result, so an expensive result needs no look-up before.
    """

    def __init__(self, leases: Leases, metrics: Metrics, longest: float) -> None:
        """``longest``: the longest wait for another process, seconds."""
        self._leases = leases
        self._longest = longest
        self._errors = metrics.cache_errors
        self._leader, self._shared, self._timed_out, self._no_coordination = (
            metrics.single_flights.labels(outcome) for outcome in ("leader", "shared", "timed_out", "no_coordination")
        )

    async def join(self, plan: Plan, look_up: LookUp, make: Make) -> Found:
        if plan.seconds < _EXPENSIVE_SECONDS or not self._leases.hands_on(plan.digits):
            return await NoCoordination().join(plan, look_up, make)
        claim = self._leases.claim(plan.key)
        try:
            result = await self._wait(claim, plan)
            return Found(await make(), cached=False) if result is None else Found(result, cached=True)
        finally:
            claim.release()

    async def _wait(self, claim: Claim, plan: Plan) -> Result | None:
        """Wait for the result in the shared cache and return it; None means that this process has to compute it."""
        deadline = monotonic() + min(self._longest, _WAIT_SECONDS + _WAIT_FACTOR * plan.seconds)
        polls = 0
        answered = -inf
        while monotonic() < deadline:
            polls += 1
            waited = answered > 0
            try:
                reply, answered = await claim.take(), monotonic()
            except CacheUnavailable:
                if monotonic() - answered > _CACHE_OUTAGE_SECONDS:
                    self._errors.inc()
                    self._no_coordination.inc()
                    return None
                reply = False
            if reply is True:
                self._leader.inc()
                return None
            if reply is not False:
                if waited:
                    self._shared.inc()
                return reply
            await asyncio.sleep(full_jitter(polls, _LONGEST_POLL_INTERVAL, _FIRST_POLL_INTERVAL))
        self._timed_out.inc()
        return None
