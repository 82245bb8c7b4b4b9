"""The steps of a calculation: plan it, find or compute its result, charge the caller's quota, and record it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

from pycalc.errors import (
    ComputationTimeout,
    FieldProblem,
    InvalidInput,
    KeysTaken,
    NotFound,
    PycalcError,
    RetryLater,
    VerificationFailed,
)
from pycalc.models.auth import Principal
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import RequestKey
from pycalc.models.ids import IdSource, now_ms, text_of_id
from pycalc.models.results import Facts, Result
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import NO_TRACER, Tracer
from pycalc.services.calculations.planning import (
    LONGEST_RECORDED,
    Preview,
    Request,
    is_short,
    make_plan,
    make_preview,
    recorded_key,
    require_size,
)
from pycalc.services.calculations.result_finder import ResultFinder, result_of
from pycalc.services.compute.computer import INLINE_SECONDS, Computer
from pycalc.services.compute.plan import Plan
from pycalc.services.history.recorder import Recorder
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.quotas import Uses, WindowQuota
from pycalc.services.operations import CALCULATIONS

_KEPT_PLANS = 4_096  # only plans of short operands are cached, which bounds their memory
OVERLOADED = "The service is overloaded; retry in 1 s."
_MOST_AT_ONCE = 512  # single calculations and batches in progress; the queue for workers has a bound of its own


class Answer(NamedTuple):
    """The answer to a recorded calculation."""

    id: str
    result: Result
    cached: bool
    elapsed_us: int  # from the request's arrival until the result was found, in microseconds
    # Bytes of the result that were charged to the caller's quota; 0 for a calculation that was recorded earlier.
    charged: int = 0


# Returns how many bytes of a result are sent; may raise a PycalcError.
Measure = Callable[[Result], int]


class Unrecorded(NamedTuple):
    """A calculation that has its result but is not recorded yet."""

    plan: Plan
    result: Result
    cached: bool
    elapsed_us: int  # as in Answer
    sent: int  # how many bytes of the result will be sent
    uses: Uses  # those of the caller's quota to which ``sent`` was charged


class Calculator:
    """A calculator that plans, computes and records calculations."""

    def __init__(
        self,
        results: ResultFinder,
        computer: Computer,
        recorder: Recorder,
        ids: IdSource,
        metrics: Metrics,
        *,
        max_digits: int,
        quota: WindowQuota,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """Limit results to ``max_digits`` digits, and charge the bytes of results that are sent to ``quota``."""
        self.max_digits = max_digits
        self._results = results
        self._computer = computer
        self.recorder = recorder
        self._ids = ids
        self._tracer = tracer
        self._quota = quota
        # A GET holds a slot from its arrival, and a posted calculation from its start, until it is recorded or needs a
        # worker process. A batch holds a slot while it is calculated.
        self.slots = ConcurrencyLimit(_MOST_AT_ONCE, metrics.requests_refused.labels("overload"), OVERLOADED, seconds=1)
        metrics.calculations_under_way.set_function(lambda: self.slots.taken)
        self._plans: dict[Request, Plan] = {}
        self._outcomes = {
            (name, outcome): metrics.calculations.labels(name, outcome)
            for name in CALCULATIONS
            for outcome in ("computed", "cached", "refused", "timeout", "busy", "failed")
        }

    def planned(self, request: Request) -> Plan | None:
        """Return the cached plan of a request. Return None if no plan is cached; the caller must then call ``plan``."""
        return self._plans.get(request)

    async def plan(self, caller: Principal, request: Request) -> Plan:
        """Create the plan of a calculation and cache it, or let a worker process create it if it is not ``is_short``.

        Raises InvalidInput, DomainError, ResultTooLarge, and the errors of ``Computer.call``, and counts them.
        """
        try:
            if not is_short(*request):
                return await self._computer.call(caller, make_plan, self.max_digits, *request)
            plan = make_plan(self.max_digits, *request)
        except PycalcError as error:
            self.count_error(request[0], error)
            raise
        if len(self._plans) >= _KEPT_PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[request] = plan
        return plan

    async def preview(self, caller: Principal, evaluation: Request) -> Preview:
        """Return the preview of an evaluation, which may be made in a worker process. Raises the errors of ``plan``."""
        if is_short(*evaluation):
            return make_preview(evaluation)
        return await self._computer.call(caller, make_preview, evaluation)

    async def calculate(
        self,
        caller: Principal,
        plan: Plan,
        began: float,
        *,
        unchanged: bool = False,
        measure: Measure | None = None,
        key: RequestKey | None = None,
    ) -> Answer:
        """Find the result of a plan, record the calculation and return its answer.

        ``began`` is the time of ``perf_counter`` at which the request arrived, and ``key`` its idempotency key. Set
        ``unchanged`` if the client already has the result. Then, if the result is not cached, only its number of digits
        and its first and last digits are computed, where that is cheaper.

        ``measure`` must return how many bytes of the result will be sent; without it, all are sent. These bytes are
        charged to the caller's quota. If ``measure`` raises an error, nothing is charged or recorded.

        Raises the errors of ``find`` and of ``Recorder.record``.
        """
        try:
            self.recorder.require_room()  # before anything is computed
            facts_only = unchanged and plan.summary_seconds < plan.seconds
            calculation = await self.find(caller, plan, began, measure, facts_only=facts_only)
            (answer,) = await self.record(caller, (calculation,), key)
        except PycalcError as error:
            self.count_error(plan.task.operation, error)
            raise
        return answer

    async def make_again(
        self, caller: Principal, row: HistoryRow, plan: Plan | None, measure: Measure | None = None
    ) -> Result:
        """Look up or compute the result of a recorded calculation and return it, without recording it again.

        ``plan`` is the calculation's plan, or None if the history abbreviates its operands. Then the result is looked
        up only, and NotFound is raised if it is no longer cached. ``measure`` is as for ``calculate``. Raises
        VerificationFailed if the result's digest is not the recorded one, and the errors of ``find``.
        """
        if plan is not None:
            result = (await self.find(caller, plan, perf_counter(), measure)).result
            if row.sha256 not in (None, result.facts.sha256):
                raise VerificationFailed(f"{row.operation}{row.input} is not what was recorded")
            return result
        cached = await self._results.look_up(recorded_key(row.operation, row.input))
        if cached is None or cached.facts.sha256 != row.sha256:
            detail = "The operands of this calculation are too long to be kept, and its result is no longer cached: "
            raise NotFound(f"{detail}send it again for its digits.")
        sent = len(cached.text) if measure is None else measure(cached)
        if sent:
            self._quota.spend(caller, sent)
        return cached

    async def answer_again(
        self, caller: Principal, row: HistoryRow, plan: Plan, measure: Measure | None = None
    ) -> Answer:
        """Return the answer to a recorded calculation, without recording it again. Raises the errors of ``make_again``.

        ``make_again`` makes a result that the history does not store. A summary needs only what the history stores.
        """
        if row.result is None and plan.task.view != "summary":
            result = await self.make_again(caller, row, plan, measure)
        else:
            facts = Facts(row.result, row.digits, row.exact, row.leading, row.trailing, row.sha256)
            result = result_of(plan, (row.result or "").encode(), facts)
        return Answer(text_of_id(row.id), result, row.cached, row.elapsed_us)

    async def find(
        self, caller: Principal, plan: Plan, began: float, measure: Measure | None = None, *, facts_only: bool = False
    ) -> Unrecorded:
        """Look up or compute the result of a plan, and charge the caller's quota for the bytes that will be sent.

        ``measure`` is as for ``calculate``, and ``facts_only`` as for ``ResultFinder.find``. Raises QuotaExceeded, and
        the errors of ``measure`` and of ``Computer.compute``. Raises ResultTooLarge if the result has too many digits,
        and InvalidInput if even their number is too long to record.
        """
        if plan.seconds > INLINE_SECONDS and measure is None and plan.task.view != "summary":
            self._quota.require(caller, plan.digits)  # before an expensive computation
        found = await self._results.find(plan, caller, facts_only=facts_only)
        facts = found.result.facts
        require_size(plan, facts, self.max_digits)
        if len(facts.digits) > LONGEST_RECORDED:
            detail = "The number of digits is itself too long to write out: ask for smaller operands."
            raise InvalidInput.of(FieldProblem("/view", detail))
        sent = len(found.result.text) if measure is None else measure(found.result)
        uses = self._quota.spend(caller, sent) if sent else ()
        return Unrecorded(plan, found.result, found.cached, int((perf_counter() - began) * 1e6), sent, uses)

    async def record(
        self, caller: Principal, calculations: Sequence[Unrecorded], key: RequestKey | None = None
    ) -> list[Answer]:
        """Record calculations in one transaction, and return their answers in order. If this fails, refund their bytes.

        Without calculations, nothing is recorded, not even ``key``. Raises the errors of ``Recorder.record``.
        """
        if not calculations:
            return []
        try:
            with self._tracer.span("record"):
                created_ms = now_ms()  # read before the ids are made, so that their time is not earlier
                traceparent = self._tracer.traceparent()
                # There is no await between the making of the ids and ``record``, so ids ascend in the recorder's queue.
                rows = [
                    HistoryRow(
                        identity,
                        caller.user_id,
                        caller.username,
                        each.plan.task.operation,
                        each.plan.recorded_input,
                        *each.result.facts,
                        each.cached,
                        each.elapsed_us,
                        traceparent,
                        created_ms,
                    )
                    for identity, each in zip(self._ids.take(len(calculations)), calculations, strict=True)
                ]
                await self.recorder.record(rows, None if key is None else key.row(rows))
        except PycalcError:
            self.refund(calculations)
            raise
        for row in rows:
            self._outcomes[row.operation, "cached" if row.cached else "computed"].inc()
        return [
            Answer(text_of_id(row.id), each.result, row.cached, row.elapsed_us, each.sent)
            for row, each in zip(rows, calculations, strict=True)
        ]

    def refund(self, calculations: Sequence[Unrecorded]) -> None:
        """Refund the bytes that ``find`` has charged for calculations that will not be recorded."""
        for each in calculations:
            self._quota.add(each.uses, -each.sent)

    def count_error(self, operation: str, error: PycalcError) -> None:
        """Count a calculation that failed. KeysTaken is not counted, because the recorded answer is sent instead."""
        if isinstance(error, KeysTaken):
            return
        if isinstance(error, ComputationTimeout):
            outcome = "timeout"
        elif isinstance(error, RetryLater):
            outcome = "busy"
        else:
            outcome = "failed" if error.code == PycalcError.code else "refused"
        self._outcomes[operation, outcome].inc()
