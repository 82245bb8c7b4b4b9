"""The tools' backend within the service. Calculations are recorded and counted like those of other HTTP requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import Any, NamedTuple

from pydantic import ValidationError
from starlette.types import Scope
from structlog import get_logger

from pycalc.errors import PycalcError
from pycalc.mcp.arguments import literals, whole
from pycalc.mcp.backend import DIGITS, HISTORY, MOST_ITEMS, Calculated, DigitRange, InlineBudget, part_of
from pycalc.models.auth import KeyScope, Principal
from pycalc.models.results import Result
from pycalc.observability.requests import context_of
from pycalc.routers.history import ROW_BYTES, HistoryQuery
from pycalc.routers.http.calculations import plan_of, recorded_answer, spend
from pycalc.routers.http.deps import id_in_path, resources_of
from pycalc.routers.http.problem_types import STATUS
from pycalc.routers.http.problems import AUDITED, audit_refusal, invalid_input
from pycalc.services.accounts.authorization import require_right
from pycalc.services.calculations.batch import BATCH_ITEM_BYTES
from pycalc.services.calculations.calculator import Answer
from pycalc.services.calculations.planning import Request
from pycalc.services.calculations.requests import recorded_request
from pycalc.services.history.reader import HistorySelection
from pycalc.services.limits.concurrency import UNCOUNTED_BYTES

_DEFAULT_ITEMS = 10
_COPIES = 2  # an answer has each result twice: in an object, and in the same object as JSON text

_log = get_logger(__name__)


class RecordedBackend(NamedTuple):
    """The backend of one HTTP request. It reserves memory for a long answer before it records or charges anything."""

    scope: Scope
    caller: Principal
    memory: ExitStack  # releases the memory of the message and its answer

    async def offers(self) -> Callable[[str], bool]:
        resources = resources_of(self.scope)
        await resources.page_limit.admit(resources.addresses.of(self.scope))  # the list of tools is as long as a page
        return lambda tool: (
            (KeyScope.HISTORY_READ if tool in (DIGITS, HISTORY) else KeyScope.CALCULATE) in self.caller.rights
        )

    async def calculate(self, request: Request, most_inline: int) -> Calculated:
        """Calculate one request. If the result is sent whole, its characters are charged to the caller's quota."""

        def measure(result: Result) -> int:
            return self._reserve_for_answer(len(result.text)) if len(result.text) <= most_inline else 0

        began = perf_counter()
        with ExitStack() as reserved:
            await self._begin(KeyScope.CALCULATE, reserved)
            plan = await plan_of(self.scope, self.caller, request, None)
            if plan.digits > UNCOUNTED_BYTES:
                self.reserve(plan.digits, reserved)
            calculator = resources_of(self.scope).calculator
            return _calculated(await calculator.calculate(self.caller, plan, began, measure=measure))

    async def batch(
        self, requests: Sequence[Request | PycalcError], most_inline: int
    ) -> list[Calculated | PycalcError]:
        """Calculate a batch. Count it towards the rate limits before computing, and record it in one transaction."""
        inline = InlineBudget(most_inline)

        def measure(result: Result) -> int:
            inlined = inline.takes(len(result.text))
            return self._reserve_for_answer(len(result.text), BATCH_ITEM_BYTES) if inlined else 0

        resources = resources_of(self.scope)
        require_right(self.caller, KeyScope.CALCULATE)
        resources.batches.slots.require_free(1)
        self.reserve(BATCH_ITEM_BYTES * len(requests), self.memory)
        with ExitStack() as reserved:
            await spend(self.scope, self.caller, resources, len(requests))
            answers = await resources.batches.calculate(self.caller, requests, reserved, measure=measure)
            return [_calculated(each) if isinstance(each, Answer) else each for each in answers]  # type: ignore[misc]

    async def digits(self, calculation_id: str, start: int, count: int) -> DigitRange:
        """Return digits of a recorded calculation: stored, cached, or computed again. Nothing is recorded."""

        def measure(result: Result) -> int:
            return self._reserve_for_answer(len(part_of(result.text, start, count).text))

        require_right(self.caller, KeyScope.HISTORY_READ)
        row = await resources_of(self.scope).history.one(self.caller, id_in_path(calculation_id, "calculation"))
        asked = recorded_request(row) if row.result is None else None
        with ExitStack() as reserved:
            await self._begin(KeyScope.HISTORY_READ, reserved)
            pending = await recorded_answer(self.scope, self.caller, row, asked, None)
            if pending.digits > UNCOUNTED_BYTES:
                self.reserve(pending.digits, reserved)
            found = await pending.calculate(unchanged=False, measure=measure)
            return part_of(found.result.text, start, count)

    async def history(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return a page of the history, selected as by ``GET /secure-history``."""
        require_right(self.caller, KeyScope.HISTORY_READ)
        resources = resources_of(self.scope)
        given = literals("", arguments)
        limit = whole(given, "limit", _DEFAULT_ITEMS, 1, MOST_ITEMS)
        try:
            query = HistoryQuery.model_validate({**given, "limit": str(limit)})
        except ValidationError as error:
            raise invalid_input({**each, "loc": ("argument", *each["loc"])} for each in error.errors()) from None
        wanted = HistorySelection(query.cursor, query.operation, query.since, query.until, query.user)
        self.reserve(query.limit * ROW_BYTES, self.memory)
        text, _ = await resources.history.page(self.caller, wanted, query.limit)

        def without_nulls(members: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in members.items() if value is not None}

        found: dict[str, Any] = json.loads(text, parse_int=str, parse_float=str, object_hook=without_nulls)
        for item in found["items"]:
            if not isinstance(item.get("result", ""), str):  # a list, an object or a boolean
                item["result"] = json.dumps(item["result"])
        return found

    def reserve(self, size: int, reserved: ExitStack) -> None:
        """Reserve ``size`` bytes of response memory until ``reserved`` is closed. Raises Overloaded without memory."""
        reserved.enter_context(resources_of(self.scope).response_memory.acquire(self.caller.user_id, size))

    def report(self, error: PycalcError) -> None:
        """Write a refusal to the audit log, as for HTTP requests, and log an internal error."""
        status = STATUS[error.code]
        if status in AUDITED:
            audit_refusal(self.scope, status, error.detail)
        if error.code == PycalcError.code:
            _log.error("internal error", path=self.scope["path"], error=type(error).__name__)

    async def _begin(self, right: KeyScope, reserved: ExitStack) -> None:
        """Require a right, count one calculation for the rate limits, and take a slot until ``reserved`` is closed."""
        require_right(self.caller, right)
        resources = resources_of(self.scope)
        await spend(self.scope, self.caller, resources)
        slot = reserved.enter_context(resources.calculator.slots.acquire(self.caller.user_id))
        context_of(self.scope).release_slot = slot.release

    def _reserve_for_answer(self, sent: int, most_uncounted: int = UNCOUNTED_BYTES) -> int:
        """Reserve memory for the ``sent`` characters of a result in the answer, if many, and return ``sent``."""
        if _COPIES * sent > most_uncounted:
            self.reserve(_COPIES * sent, self.memory)
        return sent


def _calculated(answer: Answer) -> Calculated:
    """Return an Answer as a Calculated, which is sent whole only if the caller's quota was charged for all digits."""
    text = answer.result.text
    return Calculated(answer.id, text, answer.result.facts, whole=answer.charged == len(text))
