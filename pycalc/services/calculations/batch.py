"""Batches: many calculations of one request, calculated one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from time import perf_counter

from pycalc.errors import ComputationTimeout, PayloadTooLarge, PycalcError
from pycalc.models.auth import Principal
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations.calculator import Answer, Calculator, Unrecorded
from pycalc.services.calculations.planning import Request
from pycalc.services.compute.loop_scheduler import LoopScheduler
from pycalc.services.compute.plan import Plan
from pycalc.services.limits.concurrency import ConcurrencyLimit

BATCH_ITEM_BYTES = 1_024  # response memory of each answer of a batch; a longer result takes its length in addition
_MOST_CALCULATIONS = 8_000  # in all batches under way: the recorder's queue has room for them
_YIELD_SECONDS = 0.002  # yield to the event loop after this many seconds of batch work


class BatchCalculator:
    """A calculator of batches: one calculation after the other, all recorded in one transaction."""

    def __init__(
        self,
        calculator: Calculator,
        scheduler: LoopScheduler,
        memory: ConcurrencyLimit,
        metrics: Metrics,
        seconds: float,
    ) -> None:
        """Bound the bytes of long results by ``memory``; stop the computation of each batch after ``seconds``."""
        self._calculator = calculator
        self._scheduler = scheduler
        self._memory = memory
        self._seconds = seconds
        # One slot for each calculation of the batches under way.
        self.slots = ConcurrencyLimit(
            _MOST_CALCULATIONS,
            metrics.requests_refused.labels("batches"),
            "Too many batches are being calculated; retry in 1 s.",
            seconds=1,
        )
        metrics.batched_calculations.set_function(lambda: self.slots.taken)

    async def calculate(
        self, caller: Principal, requests: Sequence[Request | PycalcError], memory: ExitStack
    ) -> list[Answer | PycalcError]:
        """Calculate a batch, record it in one transaction and return its answers in order.

        An error among ``requests`` is its own answer. The answer to a calculation that fails is its error. A
        calculation also fails if the results together would be longer than one result may be, or if the batch's
        deadline passes first. ``memory`` is a stack that receives the reserved memory of each long result; close it
        when the answers are sent.

        Raises Overloaded, before anything is computed, when too many calculations are under way, in total or for this
        user. Raises the recorder's errors.
        """
        found: list[Unrecorded | PycalcError] = []
        self._calculator.require_room()
        with self.slots.acquire(caller.user_id, len(requests)), self._calculator.slots.acquire(caller.user_id):
            try:
                async with asyncio.timeout(self._seconds):
                    await self._find_all(caller, requests, memory, found)
            except TimeoutError:
                late = ComputationTimeout("The batch's time was over before this was done: ask for it alone.")
                rest = requests[len(found) :]
                if not isinstance(rest[0], PycalcError):  # the calculation that the deadline interrupted
                    self._calculator.count_error(rest[0][0], late)
                found += [request if isinstance(request, PycalcError) else late for request in rest]
            unrecorded = [each for each in found if isinstance(each, Unrecorded)]
            answers = iter(await self._calculator.record_all(caller, unrecorded))
            return [next(answers) if isinstance(each, Unrecorded) else each for each in found]

    async def _find_all(
        self,
        caller: Principal,
        requests: Sequence[Request | PycalcError],
        memory: ExitStack,
        found: list[Unrecorded | PycalcError],
    ) -> None:
        """Append the outcome of each request to ``found``: the calculation with its result, or an error."""
        digits_left = self._calculator.max_digits
        yielded = perf_counter()
        for request in requests:
            now = perf_counter()
            if now - yielded > _YIELD_SECONDS:
                await self._scheduler.time_slice(now - yielded)
                yielded = perf_counter()
            if isinstance(request, PycalcError):
                found.append(request)
                continue
            try:
                plan = self._calculator.planned(request) or await self._calculator.plan(caller, request)
                if plan.digits > digits_left:
                    raise PayloadTooLarge("The batch's results are too long together: ask for this one by itself.")
                if plan.digits > BATCH_ITEM_BYTES:
                    memory.enter_context(self._memory.acquire(caller.user_id, plan.digits))
                found.append(await self._find(caller, plan, now))
                digits_left -= plan.digits
            except PycalcError as error:
                found.append(error)

    async def _find(self, caller: Principal, plan: Plan, began: float) -> Unrecorded:
        try:
            return await self._calculator.find(caller, plan, began)
        except PycalcError as error:
            self._calculator.count_error(plan.task.operation, error)
            raise
