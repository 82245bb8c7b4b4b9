"""Single flight: concurrent callers of the same work share one execution, within a process and among all processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from pycalc.backoff import full_jitter
from pycalc.cache.base import Claim, Leases
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import CacheMetrics
from pycalc.services.compute.plan import Plan

T = TypeVar("T")

_EXPENSIVE_SECONDS = 0.02  # cheaper results need no lease, because computing them twice costs less than a lease
# A caller waits for another process for at most this many times the estimated seconds, plus _WAIT_SECONDS, because that
# process may be gone or busy. The factor allows for estimates, which are right within a factor of two.
_WAIT_FACTOR = 5
_WAIT_SECONDS = 0.5
_FIRST_POLL_INTERVAL = 0.01
_LONGEST_POLL_INTERVAL = 0.05


@dataclass(slots=True)
class _Work(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0  # the number of callers


class SingleFlight(Generic[T]):
    """The work in progress in this process, by key. Callers with the same key share one task."""

    def __init__(self) -> None:
        self._works: dict[str, _Work[T]] = {}

    def is_running(self, key: str) -> bool:
        """Return whether work with this key is running."""
        return key in self._works

    async def join(self, key: str, start: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return the result, or raise the error, of the work with this key. If no such work is running, start it.

        When the last caller is cancelled, the work is cancelled too. A later caller starts it again.
        """
        work = self._works.get(key)
        if work is None:
            work = self._works[key] = _Work(asyncio.create_task(start()))
            # Retrieve an error that follows the last caller's departure, so that asyncio does not log it.
            work.task.add_done_callback(lambda done: done.cancelled() or done.exception())
        work.waiting += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiting -= 1
            if not work.waiting:
                work.task.cancel()
            if (not work.waiting or work.task.done()) and self._works.get(key) is work:
                del self._works[key]


class Found(NamedTuple):
    """A result that was looked up or computed."""

    result: Result
    cached: bool  # False if the result was computed for this caller, or for one whose computation this caller joined


LookUp = Callable[[], Awaitable[Result | None]]  # returns a result from the cache
Make = Callable[[], Awaitable[Result]]  # computes a result and puts it into the cache


class Coordination:
    """Single flight among processes: the holder of a result's lease computes it, the others poll the shared cache."""

    def __init__(self, leases: Leases | None, metrics: CacheMetrics, longest: float) -> None:
        """Use the leases of the shared cache, if any. Wait for another process for at most ``longest`` seconds."""
        self._leases = leases
        self._longest = longest
        self._errors = metrics.cache_errors
        self._leader, self._shared, self._timed_out, self._no_coordination = (
            metrics.single_flights.labels(outcome) for outcome in ("leader", "shared", "timed_out", "no_coordination")
        )

    async def join(self, plan: Plan, look_up: LookUp, make: Make) -> Found:
        """Return the result of a plan from the cache, another process or ``make``; raises the errors of ``make``."""
        leases, claim = self._leases, None
        if leases is not None and plan.seconds >= _EXPENSIVE_SECONDS and leases.is_storable(plan.digits):
            claim = leases.claim(plan.key)
        try:
            result = await (look_up() if claim is None else self._wait(claim, plan))
            return Found(await make(), cached=False) if result is None else Found(result, cached=True)
        finally:
            if claim is not None:
                claim.release()

    async def _wait(self, claim: Claim, plan: Plan) -> Result | None:
        """Return the result from the shared cache. Return None if this process must compute it.

        This is so if it gets the lease, has waited too long, or the cache does not reply.
        """
        deadline = monotonic() + min(self._longest, _WAIT_SECONDS + _WAIT_FACTOR * plan.seconds)
        polls = 0
        while monotonic() < deadline:
            try:
                reply = await claim.take()
            except CacheUnavailable:
                self._errors.inc()
                self._no_coordination.inc()
                return None
            if reply is True:
                self._leader.inc()
                return None
            if reply is not False:
                if polls:
                    self._shared.inc()
                return reply
            polls += 1
            await asyncio.sleep(full_jitter(polls, _LONGEST_POLL_INTERVAL, _FIRST_POLL_INTERVAL))
        self._timed_out.inc()
        return None
