"""The life of one calculation: plan -> cache -> compute -> verify -> record (ADR 7)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from mmap import mmap
from time import perf_counter, time_ns
from typing import NamedTuple, TypeVar

from pycalc.cache.base import NEAR, Cache
from pycalc.errors import (
    CacheUnavailable,
    ComputationTimeout,
    DomainError,
    FieldProblem,
    InvalidInput,
    Overloaded,
    PayloadTooLarge,
    PycalcError,
    RangeNotSatisfiable,
    ResultTooLarge,
    RetryLater,
)
from pycalc.models.auth import Principal
from pycalc.models.history import STORED_DIGITS, HistoryRow
from pycalc.models.ids import IdSource, text_of_id
from pycalc.models.numbers import json_literal
from pycalc.models.results import Facts, Result
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import NO_TRACER, Tracer
from pycalc.services.calculations.batch import Request
from pycalc.services.calculations.planning import LONGEST_RECORDED, ends_of, is_short, make_plan
from pycalc.services.calculations.single_flight import Alone, Fleet, Flights, Found
from pycalc.services.compute.computer import INLINE_SECONDS, LONG_BYTES, Computer
from pycalc.services.compute.plan import Plan
from pycalc.services.compute.worker import Outcome
from pycalc.services.history.recorder import Recorder
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.numbers.gmp import int_of

T = TypeVar("T")

_SIZE_TOO_LONG = "The number of digits is itself too long to write out: ask for smaller operands."
_BATCH_OVER = "The batch's deadline was over."
_PLANS = 4_096
"""Plans that are kept: those of short operands, which bounds their memory; the oldest goes first."""
_MARKS = 24
"""Characters that a stored text may have beside its digits: sign, point, slash, a short exponent."""
_LONGEST_BREATH = 0.002
"""Seconds for which a batch's small calculations hold the event loop before everybody else has a turn."""
_WOKEN_SECONDS = 0.0003
"""What each of many costs the event loop that have waited for the same result."""
OVERLOADED = "More is asked for than this service can do."
MOST_AT_ONCE = 512
"""Calculations asked for one by one, and batches, that may be under way together; workers bound theirs themselves."""
MOST_BATCHED = 8_000
"""Calculations in all batches under way, which the recorder has room for."""


BATCH_ITEM_BYTES = 1_024
"""The memory that each answer of a batch counts for, beside the text of a longer result."""


class Answer(NamedTuple):
    """A recorded calculation."""

    id: str
    result: Result
    cached: bool
    elapsed_us: int


class _Made(NamedTuple):
    """A plan's result, whether it was "computed" or "cached", and how long it took, microseconds."""

    plan: Plan
    result: Result
    outcome: str
    elapsed_us: int


def _answer(row: HistoryRow, made: _Made) -> Answer:
    return Answer(text_of_id(row.id), made.result, row.cached, row.elapsed_us)


class Calculator:
    """Plans, computes and records calculations."""

    def __init__(
        self,
        cache: Cache,
        computer: Computer,
        recorder: Recorder,
        ids: IdSource,
        metrics: Metrics,
        *,
        max_digits: int,
        batch_seconds: float,
        memory: ConcurrencyLimit,
        most_at_once: int = MOST_AT_ONCE,
        most_batched: int = MOST_BATCHED,
        fleet: Fleet | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """``memory``: that of responses. ``fleet``: the processes that share the cache; by default only this one."""
        self.memory = memory
        self._cache = cache
        self._tracer = tracer
        self._computer = computer
        self._recorder = recorder
        self._ids = ids
        self._max_digits = max_digits
        self._batch_seconds = batch_seconds
        self._flights: Flights[Found] = Flights()
        self._fleet = fleet or Alone()
        refused = metrics.requests_refused.labels
        self.slots = ConcurrencyLimit(most_at_once, refused("overload"), OVERLOADED, seconds=1)
        """For small calculations, from their arrival, and for batches."""
        self.batch_slots = ConcurrencyLimit(most_batched, refused("batches"), "Too many batches at once.", seconds=1)
        """For each calculation of the batches under way."""
        metrics.calculations_under_way.set_function(lambda: self.slots.taken)
        metrics.batched_calculations.set_function(lambda: self.batch_slots.taken)
        self._plans: dict[Request, Plan] = {}
        self._outcomes = {
            (name, outcome): metrics.calculations.labels(name, outcome)
            for name in OPERATIONS
            for outcome in ("computed", "cached", "refused", "timeout", "busy", "failed")
        }
        self._misses = metrics.cache_misses
        self._cache_errors = metrics.cache_errors

    def planned(self, request: Request) -> Plan | None:
        """Return a plan that was made before; None says nothing: ask ``plan``."""
        return self._plans.get(request)

    async def plan(self, caller: Principal, request: Request) -> Plan:
        """Return the plan for a calculation; that of long literals is made by a worker.

        Raises InvalidInput or DomainError, and what the computer raises.
        """
        name = request[0]
        try:
            if is_short(*request):
                return self._keep(request, make_plan(self._max_digits, *request))
            return await self._computer.call(caller.user_id, make_plan, self._max_digits, *request)
        except PycalcError as error:
            outcome = "refused" if isinstance(error, InvalidInput | DomainError) else _outcome_of(error)
            self._outcomes[name, outcome].inc()
            raise

    def _keep(self, request: Request, plan: Plan) -> Plan:
        if len(self._plans) >= _PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[request] = plan
        return plan

    async def calculate(
        self,
        caller: Principal,
        plan: Plan,
        began: float,
        *,
        held: bool = False,
        check: Callable[[Result], object] | None = None,
    ) -> Answer:
        """Return the result once it is recorded; raises what the computer and the recorder raise.

        ``began`` is when the request arrived, by ``perf_counter``: the answer's time counts from then.

        Raises ResultTooLarge, with the result's size and ends, for a plan that is too large. With ``held`` the client
        has the result already: where it is not cached, only its size and ends are found, if they cost less.
        ``check`` is called with the result; where it raises a PycalcError, nothing is recorded.
        """
        try:
            made = await self._make(caller, plan, began, held=held)
            if check is not None:
                check(made.result)
            with self._tracer.span("record"):
                row = self._row(caller, made)
                await self._recorder.record([row])
        except PycalcError as error:
            self._outcomes[plan.task.operation, _outcome_of(error)].inc()
            raise
        self._outcomes[plan.task.operation, made.outcome].inc()
        return _answer(row, made)

    async def calculate_all(
        self, caller: Principal, requests: Sequence[Request | PycalcError], memory: ExitStack
    ) -> list[Answer | PycalcError]:
        """Return the answers to a batch in order, recorded in one transaction; errors stand for themselves.

        ``memory`` is given a slot for each long result: close it when the answers are sent.

        Results that together would be longer than one may be, and what is not done by the batch's deadline, become
        errors. Raises Overloaded, before anything is computed, while many batches are under way, all together or
        this user's, and what the recorder raises.
        """
        with self.batch_slots.acquire(caller.user_id, len(requests)), self.slots.acquire(caller.user_id):
            made = await self._make_all(caller, requests, memory)
            return await self._record_all(caller, made)

    async def _record_all(self, caller: Principal, made: Sequence[_Made | PycalcError]) -> list[Answer | PycalcError]:
        with self._tracer.span("record"):
            rows = [self._row(caller, each) for each in made if isinstance(each, _Made)]
            if rows:
                await self._recorder.record(rows)
        recorded = iter(rows)
        outcomes = Counter((each.plan.task.operation, each.outcome) for each in made if isinstance(each, _Made))
        for outcome, times in outcomes.items():
            self._outcomes[outcome].inc(times)
        return [_answer(next(recorded), each) if isinstance(each, _Made) else each for each in made]

    async def _make_all(
        self, caller: Principal, requests: Sequence[Request | PycalcError], memory: ExitStack
    ) -> list[_Made | PycalcError]:
        """Make the results of a batch one after the other; an error stands for the one that it is of."""
        deadline = perf_counter() + self._batch_seconds
        digits_left = self._max_digits
        made: list[_Made | PycalcError] = []
        breath = perf_counter()
        for request in requests:
            now = perf_counter()
            if now - breath > _LONGEST_BREATH:
                await self._computer.turns.turn(now - breath)
                breath = perf_counter()
            if isinstance(request, PycalcError):
                made.append(request)
                continue
            try:
                if now > deadline:
                    raise ComputationTimeout(_BATCH_OVER)
                kept = self.planned(request)
                plan = kept if kept is not None else await _in_time(self.plan(caller, request), deadline)
                if plan.digits > digits_left:
                    raise PayloadTooLarge("The batch's results are too long together: ask for this one by itself.")
                if plan.digits > BATCH_ITEM_BYTES:
                    memory.enter_context(self.memory.acquire(caller.user_id, plan.digits))
                made.append(await self._make_in_time(caller, plan, now, deadline))
                digits_left -= plan.digits
            except PycalcError as error:
                made.append(error)
        return made

    async def _make_in_time(self, caller: Principal, plan: Plan, began: float, deadline: float) -> _Made:
        """Make one of a batch; raises ComputationTimeout when the batch's deadline is over."""
        making = self._make(caller, plan, began)
        try:
            return await (making if plan.seconds <= INLINE_SECONDS else _in_time(making, deadline))
        except PycalcError as error:
            self._outcomes[plan.task.operation, _outcome_of(error)].inc()
            raise

    async def _make(self, caller: Principal, plan: Plan, began: float, *, held: bool = False) -> _Made:
        """Return a plan's result, from the cache or computed; raises ResultTooLarge where it is."""
        only_ends = held and plan.summary_seconds < plan.seconds
        result, cached = await self._look_up(plan.key, _reach(plan, facts=only_ends)), True
        if result is None and only_ends:
            plan = ends_of(plan)
            result = await self._look_up(plan.key, _reach(plan))
        if result is None:
            result, cached = await self._find(plan, caller.user_id)
        if plan.too_large:
            raise ResultTooLarge(
                "The result has more digits than are written out here.",
                int_of(result.facts.digits),
                self._max_digits,
                result.facts.leading,
                result.facts.trailing,
            )
        if len(result.facts.digits) > LONGEST_RECORDED:
            raise InvalidInput.of(FieldProblem("/view", _SIZE_TOO_LONG))
        outcome = "cached" if cached or only_ends else "computed"
        return _Made(plan, result, outcome, int((perf_counter() - began) * 1e6))

    def _row(self, caller: Principal, made: _Made) -> HistoryRow:
        """Return the row to record now: ids must grow in the order in which rows are queued."""
        now_ms = time_ns() // 1_000_000  # before the id, which is never earlier
        return HistoryRow(
            self._ids.next(),
            caller.user_id,
            caller.username,
            made.plan.task.operation,
            made.plan.recorded_input,
            *made.result.facts,
            made.outcome == "cached",
            made.elapsed_us,
            self._tracer.traceparent(),
            now_ms,
        )

    async def _look_up(self, key: str, cost: float) -> Result | None:
        try:
            with self._tracer.span("cache"):
                return await self._cache.get(key, cost)
        except CacheUnavailable:
            self._cache_errors.inc()
            return None

    async def _find(self, plan: Plan, user: bytes) -> Found:
        """Find a result that this process does not have; the same one wanted by several at once is looked for once."""
        if plan.seconds <= INLINE_SECONDS:
            return Found(await self._compute_and_keep(plan, user), cached=False)
        joined = self._flights.under_way(plan.key)
        try:
            found = await self._flights.join(plan.key, lambda: self._fetch_or_compute(plan, user))
            if joined:
                await self._computer.turns.turn(_WOKEN_SECONDS)
            return found
        except Overloaded:
            if not joined:
                raise
            return await self._fetch_or_compute(plan, user)  # it was another user's queue that was full

    async def _fetch_or_compute(self, plan: Plan, user: bytes) -> Found:
        return await self._fleet.join(
            plan, lambda: self._look_up(plan.key, plan.seconds), lambda: self._compute_and_keep(plan, user)
        )

    async def _compute_and_keep(self, plan: Plan, user: bytes) -> Result:
        self._misses.inc()
        result = _result(plan, *await self._computer.compute(plan, user))
        try:
            await self._cache.put(plan.key, result, plan.seconds)
        except CacheUnavailable:
            self._cache_errors.inc()
        return result


def _reach(plan: Plan, *, facts: bool = False) -> float:
    """Return the cost to look a result up with; NEAR: in this process only.

    ``Calculator._find`` asks further away itself, for what takes longer. Where only ``facts`` are wanted it does not
    come to that; but for them a long result is not fetched.
    """
    far = plan.digits <= LONG_BYTES if facts else plan.seconds <= INLINE_SECONDS
    return plan.seconds if far else NEAR


def _result(plan: Plan, text: bytes | mmap, outcome: Outcome) -> Result:
    """Return what is kept of an outcome, with all of its JSON form but the text made once."""
    head = f'"operation":"{plan.task.operation}","input":{plan.input},'
    tail = f'"digits":{json_literal(outcome.digits)},"exact":{str(outcome.exact).lower()},"cached":'
    stored = None
    if plan.task.view == "summary":
        tail = f'"leading":"{outcome.leading}","trailing":"{outcome.trailing}",{tail}'
    else:
        if len(text) <= STORED_DIGITS + _MARKS and int(outcome.digits) <= STORED_DIGITS:
            stored = bytes(text).decode()
        quote = '"' if stored is None or json_literal(stored) != stored else ""
        head, tail = f'{head}"result":{quote}', f"{quote},{tail}"
    facts = Facts(stored, outcome.digits, outcome.exact, outcome.leading, outcome.trailing, outcome.sha256)
    return Result(text, facts, head.encode(), tail.encode())


async def _in_time(work: Coroutine[None, None, T], deadline: float) -> T:
    """Return what the work returns; raises ComputationTimeout when the deadline, by ``perf_counter``, is over."""
    try:
        async with asyncio.timeout(max(0.0, deadline - perf_counter())):
            return await work
    except TimeoutError:
        raise ComputationTimeout(_BATCH_OVER) from None


def _outcome_of(error: PycalcError) -> str:
    if isinstance(error, ComputationTimeout):
        return "timeout"
    if isinstance(error, ResultTooLarge | RangeNotSatisfiable):
        return "refused"
    return "busy" if isinstance(error, RetryLater) else "failed"
