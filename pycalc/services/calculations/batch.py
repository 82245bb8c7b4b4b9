"""Batches: the calculations of one request, computed one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import TypeVar

from pycalc.errors import ComputationTimeout, PayloadTooLarge, PycalcError
from pycalc.models.auth import Principal
from pycalc.models.idempotency import RequestKey
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations.calculator import Answer, Calculator, Measure, Unrecorded
from pycalc.services.calculations.idempotency import Recorded, packed
from pycalc.services.calculations.planning import Request
from pycalc.services.compute.loop_scheduler import LoopScheduler
from pycalc.services.compute.plan import Plan
from pycalc.services.limits.concurrency import ConcurrencyLimit

BatchRequest = Request | PycalcError
BatchAnswer = Answer | PycalcError | bytes  # bytes are the JSON of a problem that is recorded under an idempotency key
Describe = Callable[[PycalcError], Mapping[str, object]]  # returns the members of the problem for an error
T = TypeVar("T")

BATCH_ITEM_BYTES = 1_024  # response memory for each answer of a batch; a result longer than this takes its length too
_MOST_CALCULATIONS = 8_000  # calculations of all batches in progress, few enough for the recorder's queue
_YIELD_SECONDS = 0.002  # yield to the event loop after this many seconds of batch work


class BatchCalculator:
    """A calculator of batches, whose calculations run one after the other. One transaction records a batch."""

    def __init__(
        self,
        calculator: Calculator,
        scheduler: LoopScheduler,
        response_memory: ConcurrencyLimit,
        metrics: Metrics,
        seconds: float,
    ) -> None:
        """Reserve ``response_memory`` for long results, and stop the calculations of each batch after ``seconds``."""
        self._calculator = calculator
        self._scheduler = scheduler
        self._response_memory = response_memory
        self._seconds = seconds
        # One slot for each calculation of the batches in progress.
        self.slots = ConcurrencyLimit(
            _MOST_CALCULATIONS,
            metrics.requests_refused.labels("batches"),
            "Too many batches are being calculated; retry in 1 s.",
            seconds=1,
        )
        metrics.batched_calculations.set_function(lambda: self.slots.taken)

    async def calculate(
        self,
        caller: Principal,
        requests: Sequence[BatchRequest],
        reservations: ExitStack,
        keyed: tuple[RequestKey, Describe] | None = None,
        measure: Measure | None = None,
    ) -> list[BatchAnswer]:
        """Calculate a batch, record it in one transaction and return its answers in order.

        If a calculation fails, the list has its error in place of an answer. An error among ``requests`` is returned
        unchanged. After the batch's deadline, calculations fail with ComputationTimeout. A calculation fails with
        PayloadTooLarge if the batch's results may be too long together.

        Reservations of memory for long results are pushed onto ``reservations``: close this stack when the answers are
        sent. ``measure`` is as for ``Calculator.calculate``, and is called in the requests' order.

        If the batch has an idempotency key, ``keyed`` contains the key and a function that describes an error. Then
        each error in the answers is replaced by the JSON of its description, which is recorded with the key. If all
        calculations fail, nothing is recorded, not even the key.

        Raises the errors of ``Recorder.record``, and Overloaded if too many calculations are in progress.
        """
        unrecorded: list[Unrecorded] = []

        async def find(_index: int, plan: Plan, began: float) -> Unrecorded:
            try:
                unrecorded.append(await self._calculator.find(caller, plan, began, measure))
            except PycalcError as error:
                self._calculator.count_error(plan.task.operation, error)
                raise
            return unrecorded[-1]

        self._calculator.recorder.require_room()
        with self.slots.acquire(caller.user_id, len(requests)), self._calculator.slots.acquire(caller.user_id):
            try:
                found = await self._find_all(caller, requests, reservations, find)
            except BaseException:  # the client has disconnected
                self._calculator.refund(unrecorded)
                raise
            key: RequestKey | None = None
            problems: Mapping[int, bytes] = {}
            if keyed is not None:
                key, describe = keyed
                errors = {index: describe(each) for index, each in enumerate(found) if isinstance(each, PycalcError)}
                pack, problems = packed(errors, len(found))
                key = key._replace(problems=pack)
            answers = iter(await self._calculator.record(caller, unrecorded, key))
            return [
                next(answers) if isinstance(each, Unrecorded) else problems.get(index, each)
                for index, each in enumerate(found)
            ]

    async def answer_again(
        self, caller: Principal, requests: Sequence[BatchRequest], reservations: ExitStack, recorded: Recorded
    ) -> list[BatchAnswer]:
        """Return the answers to a batch that is recorded already, without recording it again.

        Results that the history does not store are looked up or computed again. If this fails, the list has the error
        in place of an answer. ``reservations`` is as for ``calculate``. Raises Overloaded as ``calculate`` does.
        """
        rows = iter(recorded.rows)
        row_of = {index: next(rows) for index in range(len(requests)) if index not in recorded.problems}
        wanted = [recorded.problems.get(index, request) for index, request in enumerate(requests)]

        async def find(index: int, plan: Plan, _began: float) -> Answer:
            return await self._calculator.answer_again(caller, row_of[index], plan)

        with self.slots.acquire(caller.user_id, len(requests)), self._calculator.slots.acquire(caller.user_id):
            return await self._find_all(caller, wanted, reservations, find)

    async def _find_all(
        self,
        caller: Principal,
        requests: Sequence[BatchRequest | bytes],
        reservations: ExitStack,
        find: Callable[[int, Plan, float], Awaitable[T]],
    ) -> list[T | PycalcError | bytes]:
        """Return what ``find`` returns or raises for each request. It gets the index, the plan and the start.

        A request that is an error, or the JSON of an error, is returned unchanged.
        """
        found: list[T | PycalcError | bytes] = []
        digits_left = self._calculator.max_digits
        yielded = perf_counter()
        try:
            async with asyncio.timeout(self._seconds):
                for index, request in enumerate(requests):
                    now = perf_counter()
                    if now - yielded > _YIELD_SECONDS:
                        await self._scheduler.time_slice(now - yielded)
                        yielded = perf_counter()
                    if not isinstance(request, tuple):
                        found.append(request)
                        continue
                    try:
                        plan = self._calculator.planned(request) or await self._calculator.plan(caller, request)
                        if plan.digits > digits_left:
                            raise PayloadTooLarge("The batch's results are too long together: ask for this one alone.")
                        if plan.digits > BATCH_ITEM_BYTES:
                            reservations.enter_context(self._response_memory.acquire(caller.user_id, plan.digits))
                        found.append(await find(index, plan, now))
                        digits_left -= plan.digits
                    except PycalcError as error:
                        found.append(error)
        except TimeoutError:
            late = ComputationTimeout("The batch's deadline passed before this calculation was done: send it alone.")
            rest = requests[len(found) :]
            if isinstance(rest[0], tuple):  # the calculation that the deadline interrupted
                self._calculator.count_error(rest[0][0], late)
            found += [late if isinstance(request, tuple) else request for request in rest]
        return found
