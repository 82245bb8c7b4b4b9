"""Results from the cache or by computation. Concurrent callers of an expensive result share one computation."""

from __future__ import annotations

from math import inf
from mmap import mmap

from pycalc.cache.base import LOCAL_TIER, Cache
from pycalc.errors import CacheUnavailable, Overloaded, QuotaExceeded
from pycalc.models.auth import Principal
from pycalc.models.json_text import json_literal, quoted
from pycalc.models.results import Facts, Result
from pycalc.observability.metrics import CacheMetrics
from pycalc.observability.tracing import NO_TRACER, Tracer
from pycalc.services.calculations.planning import ends_of
from pycalc.services.calculations.single_flight import Coordination, Found, SingleFlight
from pycalc.services.compute.computer import INLINE_SECONDS, LONG_BYTES, Computer
from pycalc.services.compute.plan import Plan
from pycalc.services.operations.radix import DECIMAL

_WAKE_SECONDS = 0.0003  # time on the event loop to answer each caller who shared a computation


class ResultFinder:
    """A finder of results, which computes the results that are not in the cache."""

    def __init__(
        self,
        cache: Cache,
        computer: Computer,
        coordination: Coordination,
        metrics: CacheMetrics,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._cache = cache
        self._computer = computer
        self._coordination = coordination
        self._tracer = tracer
        self._single_flight: SingleFlight[Found] = SingleFlight()
        self._misses = metrics.cache_misses
        self._cache_errors = metrics.cache_errors

    async def find(self, plan: Plan, caller: Principal, *, facts_only: bool = False) -> Found:
        """Return the result of a plan. Raises the errors of ``Computer.compute``.

        Set ``facts_only`` if the client already has the result's text. Then, if the result is not cached, only the
        number of digits and the first and last digits are computed. The operation must have summaries.
        """
        if facts_only:  # a long text, which is not needed, is looked up in this process only
            result = await self.look_up(plan.key, plan.seconds if plan.digits <= LONG_BYTES else LOCAL_TIER)
            if result is not None:
                return Found(result, cached=True)
            plan = ends_of(plan)
        # The cache looks up a cheap result in this process only. _coordinate looks up an expensive result in the shared
        # cache, once for all callers who wait for it.
        inline = plan.seconds <= INLINE_SECONDS
        result = await self.look_up(plan.key, plan.seconds if inline else LOCAL_TIER)
        if result is not None:
            return Found(result, cached=True)
        if inline:
            return Found(await self._compute(plan, caller), cached=False)
        joined = self._single_flight.is_running(plan.key)
        try:
            with self._computer.admission.wanted(plan.key, caller.user_id):
                found = await self._single_flight.join(plan.key, lambda: self._coordinate(plan, caller))
            if joined:
                await self._computer.scheduler.time_slice(_WAKE_SECONDS)
            return found
        except (Overloaded, QuotaExceeded):
            if not joined:
                raise
            # The error concerns the queue or quota of the user who started the computation, not necessarily this one.
            return await self._coordinate(plan, caller)

    async def _coordinate(self, plan: Plan, caller: Principal) -> Found:
        return await self._coordination.join(
            plan, lambda: self.look_up(plan.key, plan.seconds), lambda: self._compute(plan, caller)
        )

    async def look_up(self, key: str, cost: float = inf) -> Result | None:
        """Return the cached result with this key, or None if there is none or the shared cache does not answer.

        ``cost`` is the estimated time in seconds to compute the result. A slower tier of the cache is skipped.
        """
        try:
            with self._tracer.span("cache"):
                return await self._cache.get(key, cost)
        except CacheUnavailable:
            self._cache_errors.inc()
            return None

    async def _compute(self, plan: Plan, caller: Principal) -> Result:
        """Compute the result of a plan and store it in the cache."""
        self._misses.inc()
        result = result_of(plan, *await self._computer.compute(plan, caller))
        await self._cache.put(plan.key, result, plan.seconds)
        return result


def result_of(plan: Plan, text: bytes | mmap, facts: Facts) -> Result:
    """Return a Result with this text, these facts, and the JSON that surrounds the text in a response."""
    head = f'"operation":{quoted(plan.task.operation)},"input":{plan.input},'
    tail = f'"digits":{json_literal(facts.digits)},"exact":{str(facts.exact).lower()},"cached":'
    if plan.task.view == "summary":
        tail = f'"leading":{quoted(facts.leading)},"trailing":{quoted(facts.trailing)},{tail}'
    else:
        is_json = text[:1] in (b"[", b"{") or (
            plan.task.base == DECIMAL and facts.stored is not None and json_literal(facts.stored) == facts.stored
        )
        quote = "" if is_json else '"'
        head, tail = f'{head}"result":{quote}', f"{quote},{tail}"
    return Result(text, facts, head.encode(), tail.encode())
