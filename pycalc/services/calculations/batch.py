"""Batches: many calculations of one request, read from its body and calculated one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import Any

from pycalc.errors import ComputationTimeout, FieldProblem, InvalidInput, PayloadTooLarge, PycalcError
from pycalc.models.auth import Principal
from pycalc.models.json_text import pointer_step, read_json, shown
from pycalc.models.math import MAX_BATCH
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations.calculator import Answer, Calculator, Unrecorded
from pycalc.services.calculations.planning import Request, default_options, options_of
from pycalc.services.calculations.result_finder import ResultFinder
from pycalc.services.compute.loop_scheduler import LoopScheduler
from pycalc.services.compute.plan import Plan
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.operations import CALCULATIONS

BATCH_ITEM_BYTES = 1_024  # response memory for each answer of a batch, beside the text of a longer result
_MOST_CALCULATIONS = 8_000  # in all batches under way: the recorder's queue has room for them
_YIELD_SECONDS = 0.002  # yield to the event loop after so much batch work


class BatchCalculator:
    """A calculator of batches: one calculation after the other, all recorded in one transaction."""

    def __init__(
        self,
        calculator: Calculator,
        results: ResultFinder,
        scheduler: LoopScheduler,
        memory: ConcurrencyLimit,
        metrics: Metrics,
        seconds: float,
    ) -> None:
        """``memory``: the response memory, bytes; ``seconds``: the deadline of one batch."""
        self._calculator = calculator
        self._results = results
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
        """Record a batch in one transaction and return its answers in order; the answer to an error is the error.

        ``memory`` receives a slot of the response memory for each long result; close it when the answers are sent.
        Once the results together are longer than one result may be, further calculations become errors. So do those
        that the batch's deadline does not leave time for. Raises Overloaded, before anything is computed, when too many
        batches are under way, in total or of this user. Raises the recorder's errors.
        """
        found: list[Unrecorded | PycalcError] = []
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
        """Append each calculation with its result, or the error that answers it, to ``found``."""
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
            return self._calculator.with_result(plan, await self._results.find(plan, caller.user_id), began)
        except PycalcError as error:
            self._calculator.count_error(plan.task.operation, error)
            raise


def read_batch(body: bytes) -> list[Request | PycalcError]:
    """Return the calculations in a batch's body; one that is not valid is replaced by its error.

    Numbers are kept as written, never converted to floats. Raises InvalidInput, with JSON pointers, when the body is
    not a batch.
    """
    document = read_json(body, _literal, 4 * MAX_BATCH)  # twice as many objects as the items need
    if not isinstance(document, dict) or document.keys() != {"operations"}:
        raise InvalidInput.of(FieldProblem("", 'The body must be {"operations": [...]}, with no other member.'))
    items = document["operations"]
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
        raise InvalidInput.of(FieldProblem("/operations", f"operations must be a list of 1 to {MAX_BATCH:,} items."))
    if problems := [problem for index, item in enumerate(items) for problem in _malformed(index, item)]:
        raise InvalidInput.of(*problems)
    return [_request(item["operation"], item["input"]) for item in items]


def _literal(number: str) -> str:
    """Return a JSON number's literal, and 5 for ``5.0``: some languages write integers like that."""
    whole, _, fraction = number.partition(".")
    return number if fraction.strip("0") else whole


def _malformed(index: int, item: Any) -> Iterator[FieldProblem]:
    """Yield the errors in the form of one item."""
    at = f"/operations/{index}"
    if not isinstance(item, dict) or item.keys() != {"operation", "input"}:
        yield FieldProblem(at, 'An item must be {"operation": ..., "input": {...}}, with no other member.')
        return
    if not isinstance(item["operation"], str) or item["operation"] not in CALCULATIONS:
        yield FieldProblem(f"{at}/operation", f"operation must be one of {', '.join(CALCULATIONS)}.")
    if not isinstance(item["input"], dict):
        yield FieldProblem(f"{at}/input", "input must be an object with the operands and options.")
        return
    for name, value in item["input"].items():
        if not isinstance(value, str):
            yield FieldProblem(f"{at}/input{pointer_step(name)}", f"{shown(name)} must be a number or a string.")


def _request(name: str, given: dict[str, str]) -> Request | PycalcError:
    """Return one calculation's request; takes the operands out of ``given``, so that the options remain."""
    operation = CALCULATIONS[name]
    try:
        literals = tuple([given.pop(parameter.name) for parameter in operation.parameters])
        return name, literals, options_of(operation, given) if given else default_options(operation)
    except KeyError as missing:
        operand = missing.args[0]
        return InvalidInput.of(FieldProblem(f"/{operand}", f"{operand} is missing: it is required."))
    except InvalidInput as error:
        return error
