"""Calculations from plan to record, with a cache and a history in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from time import perf_counter, time_ns

import pytest

from pycalc.cache import open_cache
from pycalc.errors import (
    ComputationTimeout,
    InvalidInput,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    QuotaExceeded,
    RangeNotSatisfiable,
    ResultTooLarge,
    StoreUnavailable,
    VerificationFailed,
)
from pycalc.models.auth import Principal, Role
from pycalc.models.ids import IdSource, id_of_text
from pycalc.models.limits import UserLimit, UserLimits
from pycalc.models.results import Facts, Result
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations import batch, calculator
from pycalc.services.calculations.batch import BatchCalculator, BatchRequest
from pycalc.services.calculations.calculator import Answer, Calculator
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options, Preview
from pycalc.services.calculations.result_finder import ResultFinder
from pycalc.services.calculations.single_flight import Coordination, Found
from pycalc.services.compute.computer import INLINE_SECONDS, Computer
from pycalc.services.compute.loop_scheduler import LoopScheduler
from pycalc.services.compute.plan import Plan
from pycalc.services.history.recorder import Recorder
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.quotas import WindowQuota, compute_quota, digits_quota
from tests.harness.stores import USER_ID, MemoryHistoryStore

pytestmark = pytest.mark.anyio

ADA = Principal(USER_ID, "ada", Role.USER, bytes(16), 2e9)
MAX_DIGITS = 2_000


class Service:
    """The calculators of single requests and of batches, with their history and metrics."""

    def __init__(
        self,
        calculator: Calculator,
        results: ResultFinder,
        quota: WindowQuota,
        batches: BatchCalculator,
        history: MemoryHistoryStore,
        metrics: Metrics,
    ) -> None:
        self.results = results
        self.quota = quota
        self.calculator = calculator
        self.batches = batches
        self.history = history
        self._metrics = metrics

    def outcomes(self, operation: str) -> dict[str, float]:
        """Return the number of calculations of an operation by outcome."""
        told = self._metrics.registry.get_sample_value
        names = ("computed", "cached", "refused", "timeout", "busy", "failed")
        counts = {name: told("pycalc_calculations_total", {"operation": operation, "outcome": name}) for name in names}
        return {name: count for name, count in counts.items() if count}

    async def one(self, operation: str, *literals: str, options: Options = DEFAULT_OPTIONS) -> Answer:
        """Plan one calculation, make it, and return the answer."""
        plan = await self.calculator.plan(ADA, (operation, literals, options))
        return await self.calculator.calculate(ADA, plan, perf_counter())


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Open a calculator that returns results of up to 2,000 digits in full."""
    metrics, history, ids = Metrics(), MemoryHistoryStore(), IdSource()
    cache = await open_cache("memory://", metrics, lambda: "1")
    computer = Computer(metrics, workers=1, timeout=30.0, worker_memory=1 << 30, quota=compute_quota(metrics))
    recorder = Recorder(history, metrics, lambda _: None)
    memory = ConcurrencyLimit(1 << 30, metrics.exports_refused, "Too much at once.")
    results = ResultFinder(cache, computer, Coordination(None, metrics, 30.0), metrics)
    digits = digits_quota(metrics)
    calculator = Calculator(results, computer, recorder, ids, metrics, max_digits=MAX_DIGITS, quota=digits)
    batches = BatchCalculator(calculator, computer.scheduler, memory, metrics, seconds=30.0)
    yield Service(calculator, results, digits, batches, history, metrics)
    await recorder.aclose()
    await cache.aclose()


async def test_a_calculation_is_computed_once_and_recorded_twice(service: Service) -> None:
    """A repeated calculation is answered from the cache and recorded again, as cached."""
    before_ms = time_ns() // 1_000_000
    await service.one("fibonacci", "100")
    assert before_ms <= service.history.rows[0].time_ms <= time_ns() // 1_000_000
    assert service.outcomes("fibonacci") == {"computed": 1}
    await service.one("fibonacci", "100")
    assert [(row.result, row.digits, row.exact, row.cached) for row in service.history.rows] == [
        ("354224848179261915075", "21", True, False),
        ("354224848179261915075", "21", True, True),
    ]
    assert service.outcomes("fibonacci") == {"computed": 1, "cached": 1}
    assert [(row.user_id, row.username, row.operation, row.input) for row in service.history.rows[:1]] == [
        (USER_ID, "ada", "fibonacci", '{"n":100}')
    ]


@pytest.mark.parametrize(("digits", "stored"), [(1_000, True), (1_001, False)])
async def test_up_to_1000_digits_are_stored(service: Service, digits: int, stored: bool) -> None:
    """A result is stored in full if it has up to 1,000 digits; its size, first and last digits are always stored."""
    await service.one("pow", "10", str(digits - 1))
    (row,) = service.history.rows
    assert (row.digits, row.result == ("1" + "0" * (digits - 1) if stored else None)) == (str(digits), True)
    assert (row.leading, row.trailing) == ("1" + "0" * 19, "0" * 20)


@pytest.mark.parametrize(
    ("literals", "written"),
    [
        (("2", "53"), '"result":"9007199254740992"'),
        (("9007199254740991", "1"), '"result":9007199254740991'),
        (("2.5", "1"), '"result":"2.5"'),
        (("-3", "1"), '"result":-3'),
    ],
)
async def test_only_what_javascript_keeps_exact_is_a_number(
    service: Service, literals: tuple[str, str], written: str
) -> None:
    """An integer within ±(2^53 - 1) is a JSON number; any other result is a string (RFC 7493)."""
    answer = await service.one("pow", *literals)
    result = answer.result
    text = result.head + bytes(result.text) + result.tail
    assert written in text.decode()


async def test_a_batch_stands_in_its_order(service: Service) -> None:
    """A batch's answers and errors keep the order of its items; all calculations are recorded in one transaction."""
    wrong = InvalidInput("n is missing.")
    seven = ("fibonacci", ("7",), DEFAULT_OPTIONS)
    answers = await service.batches.calculate(
        ADA, [wrong, seven, wrong, ("pow", ("0", "-1"), DEFAULT_OPTIONS), seven, seven], ExitStack()
    )
    assert [answers[0], answers[2]] == [wrong, wrong]
    assert [isinstance(answer, Answer) for answer in answers] == [False, True, False, False, True, True]
    assert [[row.result for row in batch] for batch in service.history.batches] == [["13", "13", "13"]]
    assert service.outcomes("fibonacci") == {"computed": 1, "cached": 2}
    assert service.outcomes("pow") == {"refused": 1}


async def test_a_batch_s_results_are_as_long_together_as_one_may_be(service: Service) -> None:
    """The digit limit of a single result also applies to all results of a batch together; items beyond it fail."""
    lengths = [1_000, 999, 2, 1, 1]
    requests = [("pow", ("10", str(length - 1)), DEFAULT_OPTIONS) for length in lengths]
    answers = await service.batches.calculate(ADA, list(requests), ExitStack())
    assert [isinstance(answer, PayloadTooLarge) for answer in answers] == [False, False, True, False, True]


@pytest.mark.parametrize(("digits", "taken"), [(1_024, 0), (1_025, 1_025)])
async def test_a_batch_reserves_memory_for_its_long_results(service: Service, digits: int, taken: int) -> None:
    """Each result of more than 1,024 digits takes its length of the response memory until the batch is sent."""
    memory = ConcurrencyLimit(10_000, Metrics().exports_refused, "Too much at once.")
    batches = BatchCalculator(service.calculator, LoopScheduler(), memory, Metrics(), seconds=30.0)
    requests = [("pow", ("10", str(length - 1)), DEFAULT_OPTIONS) for length in (21, digits)]
    with ExitStack() as reservations:
        answers = await batches.calculate(ADA, list(requests), reservations)
        assert [isinstance(answer, Answer) for answer in answers] == [True, True]
        assert memory.taken == taken
    assert memory.taken == 0


async def hang(*_: object) -> None:
    """Wait until the caller is cancelled."""
    await asyncio.Event().wait()


async def test_what_a_batch_s_deadline_leaves_undone_is_a_timeout(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a batch's deadline, an unfinished item is answered with a timeout, an invalid one with its own error.

    The metrics count a timeout only for the calculation that was running at the deadline.
    """
    metrics = Metrics()
    memory = ConcurrencyLimit(1 << 30, metrics.exports_refused, "Too much at once.")
    monkeypatch.setattr(service.calculator, "find", hang)
    batches = BatchCalculator(service.calculator, LoopScheduler(), memory, metrics, seconds=0.0)
    wrong = InvalidInput("n is missing.")
    seven, power = ("fibonacci", ("7",), DEFAULT_OPTIONS), ("pow", ("2", "3"), DEFAULT_OPTIONS)
    mixed: list[list[BatchRequest]] = [[wrong, seven, wrong, power], [wrong, seven, power, wrong]]
    for requests in mixed:
        answers = await batches.calculate(ADA, requests, ExitStack())
        assert [isinstance(answer, ComputationTimeout) for answer in answers] == [
            each is not wrong for each in requests
        ]
    assert (service.history.rows, service.outcomes("fibonacci"), service.outcomes("pow")) == ([], {"timeout": 2}, {})


async def test_a_batch_yields_after_two_milliseconds(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch yields to the event loop whenever it has worked for more than 2 ms."""
    slices: list[float] = []

    class Scheduler(LoopScheduler):
        async def time_slice(self, seconds: float) -> None:
            slices.append(seconds)

    moments = count()  # each reading of the clock is a 1,024th of a second after the last
    monkeypatch.setattr(batch, "perf_counter", lambda: next(moments) / 1024)
    memory = ConcurrencyLimit(1 << 30, Metrics().exports_refused, "Too much at once.")
    batches = BatchCalculator(service.calculator, Scheduler(), memory, Metrics(), seconds=30.0)
    await batches.calculate(ADA, [("fibonacci", ("7",), DEFAULT_OPTIONS)] * 7, ExitStack())
    assert slices == [3 / 1024] * 2


@pytest.mark.parametrize(("of", "most"), [("calculator", 512), ("batches", 8_000)])
async def test_so_many_calculations_are_under_way_and_no_more(service: Service, of: str, most: int) -> None:
    """At most 512 single calculations and batches, and 8,000 calculations in batches, are in progress at once.

    Another one is refused, with the advice to retry after one second.
    """
    slots = getattr(service, of).slots
    with slots.take(b"others", most - 1):
        slots.acquire(b"ada").release()
    with slots.take(b"others", most), pytest.raises(Overloaded, match="retry in 1 s") as refused:
        slots.acquire(b"ada")
    assert refused.value.retry_after == 1


async def test_so_many_plans_are_kept_and_no_more(service: Service) -> None:
    """At most 4,096 plans are cached; another one displaces the oldest."""
    requests = [("fibonacci", (str(number),), DEFAULT_OPTIONS) for number in range(4_097)]
    for request in requests[:-1]:
        await service.calculator.plan(ADA, request)
    assert service.calculator.planned(requests[0]) is not None
    await service.calculator.plan(ADA, requests[-1])
    assert [service.calculator.planned(request) is None for request in (*requests[:2], requests[-1])] == [
        *(True, False, False)
    ]


async def test_a_result_that_is_too_large_is_refused_with_its_size_and_ends(service: Service) -> None:
    """A result of 2,001 digits is refused with its size, first and last digits, and is not recorded."""
    with pytest.raises(ResultTooLarge) as refused:
        await service.one("pow", "10", "2000")
    assert refused.value.args[1:5] == (2_001, MAX_DIGITS, "1" + "0" * 19, "0" * 20)
    assert (service.history.rows, service.outcomes("pow")) == ([], {"refused": 1})


async def test_a_value_that_turns_out_to_be_too_large_is_refused(service: Service) -> None:
    """A quotient with an irrational divisor has no reliable size estimate; its result is refused if it is too large."""
    options = Options(precision=5)
    with pytest.raises(ResultTooLarge) as refused:
        await service.one("evaluate", "floor(1 / 10^(-1000.5) / 10^(-1000.2))", options=options)
    assert (refused.value.digits, refused.value.limit) == (2_001, MAX_DIGITS)
    assert refused.value.leading == "50118723362727228500"  # 10^0.7
    assert not service.history.rows
    answer = await service.one("evaluate", "floor(1 / 10^(-1000.5) / 10^(-999.2))", options=options)
    assert answer.result.facts.digits == "2000"


async def test_a_summary_is_an_answer_without_the_value(service: Service) -> None:
    """A summary has the size, first and last digits of a result without its value, and is recorded in this form."""
    answer = await service.one("fibonacci", "1000", options=Options(summary=True))
    document = json.loads(b"{" + answer.result.head + answer.result.tail + b"false}")
    assert (document["digits"], document["leading"]) == (209, "43466557686937456435")
    (row,) = service.history.rows
    assert (row.result, row.digits, row.input) == (None, "209", '{"n":1000,"view":"summary"}')


async def test_a_result_that_is_not_what_was_asked_for_is_not_recorded(service: Service) -> None:
    """If a result lacks the requested byte range, the calculation is not recorded, and counts as refused."""

    def measure(result: Result) -> int:
        raise RangeNotSatisfiable("Beyond the end.", len(result.text))

    plan = await service.calculator.plan(ADA, ("fibonacci", ("100",), DEFAULT_OPTIONS))
    for _ in range(2):
        with pytest.raises(RangeNotSatisfiable) as refused:
            await service.calculator.calculate(ADA, plan, perf_counter(), measure=measure)
        assert refused.value.length == 21
    assert (service.history.rows, service.outcomes("fibonacci")) == ([], {"refused": 2})


TEN_BYTES = UserLimits(digits=UserLimit(10, 86_400))  # fewer than the 21 digits of F(100)


@pytest.mark.parametrize(
    ("seconds", "summary", "sent", "found"),
    [
        (INLINE_SECONDS, False, None, True),
        (2 * INLINE_SECONDS, False, None, False),
        (2 * INLINE_SECONDS, False, 5, True),
        (2 * INLINE_SECONDS, True, None, True),
    ],
)
async def test_what_is_expensive_needs_quota_before_it_is_computed(
    service: Service, monkeypatch: pytest.MonkeyPatch, seconds: float, summary: bool, sent: int | None, found: bool
) -> None:
    """If a whole result is expensive, the caller's quota is checked before the result is looked up or computed.

    For a cheap result, a part of a result or a summary, the quota is checked afterwards.
    """
    caller, looked_up = replace(ADA, limits=TEN_BYTES), []

    async def find(plan: Plan, *_: object, **__: object) -> Found:
        looked_up.append(plan)
        raise ComputationTimeout("Not in this test.")

    plan = await service.calculator.plan(ADA, ("fibonacci", ("100",), Options(summary=summary)))
    monkeypatch.setattr(service.results, "find", find)
    measure = None if sent is None else lambda _: sent
    with pytest.raises(ComputationTimeout if found else QuotaExceeded):
        await service.calculator.find(caller, replace(plan, seconds=seconds), perf_counter(), measure)
    assert len(looked_up) == found


@pytest.mark.parametrize(("sent", "charged"), [(None, 21), (5, 5), (0, 0)])
async def test_the_bytes_that_are_sent_are_charged_unless_nothing_is_recorded(
    service: Service, sent: int | None, charged: int
) -> None:
    """The bytes of F(100) that are sent are charged to the quota. If recording fails, the charge is taken back."""
    caller = replace(ADA, limits=UserLimits(digits=UserLimit(100, 86_400)))
    measure = None if sent is None else lambda _: sent
    plan = await service.calculator.plan(caller, ("fibonacci", ("100",), DEFAULT_OPTIONS))
    service.history.failure = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await service.calculator.calculate(caller, plan, perf_counter(), measure=measure)
    assert [state["used"] for state in service.quota.states(caller)] == [0]
    service.history.failure = None
    answer = await service.calculator.calculate(caller, plan, perf_counter(), measure=measure)
    assert (answer.charged, [state["used"] for state in service.quota.states(caller)]) == (charged, [charged])


@pytest.mark.parametrize("failure", [asyncio.CancelledError(), RuntimeError("a bug")])
async def test_a_batch_that_ends_before_it_is_recorded_charges_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """If the client of a batch disconnects before the batch is recorded, the bytes of its results are not charged."""
    caller = replace(ADA, limits=UserLimits(digits=UserLimit(100, 86_400)))
    find, charged = service.results.find, list[float]()

    async def fail_second(plan: Plan, caller: Principal, *, facts_only: bool = False) -> Found:
        charged.extend(state["used"] for state in service.quota.states(caller))
        if len(charged) == 2:
            raise failure
        return await find(plan, caller, facts_only=facts_only)

    monkeypatch.setattr(service.results, "find", fail_second)
    requests: list[BatchRequest] = [("fibonacci", ("100",), DEFAULT_OPTIONS)] * 2
    with pytest.raises(type(failure)):
        await service.batches.calculate(caller, requests, ExitStack())
    assert (charged, [state["used"] for state in service.quota.states(caller)]) == ([0, 21], [0])
    assert service.history.rows == []


async def test_an_answer_has_the_time_since_the_request_came(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The elapsed time counts from the request's arrival, in microseconds."""
    plan = await service.calculator.plan(ADA, ("fibonacci", ("100",), DEFAULT_OPTIONS))
    monkeypatch.setattr(calculator, "perf_counter", lambda: 1_100.25)
    answer = await service.calculator.calculate(ADA, plan, 1_000.0)
    assert (answer.elapsed_us, service.history.rows[0].elapsed_us) == (100_250_000, 100_250_000)


@pytest.mark.parametrize(
    ("unchanged", "summary_seconds", "facts_only"), [(True, 0.5, True), (True, 1.0, False), (False, 0.5, False)]
)
async def test_of_a_result_that_the_client_has_only_the_facts_are_computed(
    service: Service, monkeypatch: pytest.MonkeyPatch, unchanged: bool, summary_seconds: float, facts_only: bool
) -> None:
    """If the client already has a result, only its size, first and last digits are computed, if this is cheaper."""
    asked = []

    async def find(*_: object, facts_only: bool) -> Found:
        asked.append(facts_only)
        raise ComputationTimeout("Not in this test.")

    plan = await service.calculator.plan(ADA, ("fibonacci", ("100",), DEFAULT_OPTIONS))
    monkeypatch.setattr(service.results, "find", find)
    costly = replace(plan, seconds=1.0, summary_seconds=summary_seconds)
    with pytest.raises(ComputationTimeout):
        await service.calculator.calculate(ADA, costly, perf_counter(), unchanged=unchanged)
    assert asked == [facts_only]


@pytest.mark.parametrize(("length", "refused"), [(1_000, False), (1_001, True)])
async def test_a_number_of_digits_must_be_short_enough_to_write_out(
    service: Service, monkeypatch: pytest.MonkeyPatch, length: int, refused: bool
) -> None:
    """A summary is refused and not recorded if its digit count is a number of more than 1,000 digits."""
    facts = Facts(None, "9" * length, True, "1" * 20, "0" * 20, None)

    async def find(*_: object, **__: object) -> Found:
        return Found(Result(b"", facts, b"", b""), cached=False)

    monkeypatch.setattr(service.results, "find", find)
    if refused:
        with pytest.raises(InvalidInput):
            await service.one("fibonacci", "1000", options=Options(summary=True))
    else:
        await service.one("fibonacci", "1000", options=Options(summary=True))
    assert len(service.history.rows) == (0 if refused else 1)


async def test_a_recorded_calculation_is_answered_again_from_its_row(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorded summary, or a recorded calculation whose result is stored, is answered from its row.

    Nothing is computed, recorded or charged again.
    """
    value = await service.one("fibonacci", "100")
    summary = await service.one("fibonacci", "1000", options=Options(summary=True))
    monkeypatch.setattr(service.results, "find", hang)
    for answer, options, n in ((value, DEFAULT_OPTIONS, "100"), (summary, Options(summary=True), "1000")):
        plan = await service.calculator.plan(ADA, ("fibonacci", (n,), options))
        row = await service.history.find(id_of_text(answer.id))
        assert row is not None
        assert await service.calculator.answer_again(ADA, row, plan) == answer._replace(charged=0)
    assert len(service.history.rows) == 2


async def test_a_result_that_is_not_stored_is_made_again_and_compared(service: Service) -> None:
    """The history does not store a result of 1,001 digits; the result is looked up in the cache or computed again.

    If its digest is not the recorded one, VerificationFailed is raised.
    """
    answer = await service.one("pow", "10", "1000")
    plan = await service.calculator.plan(ADA, ("pow", ("10", "1000"), DEFAULT_OPTIONS))
    (row,) = service.history.rows
    assert (await service.calculator.answer_again(ADA, row, plan)).result == answer.result
    unknown = row._replace(sha256=None)
    assert (await service.calculator.answer_again(ADA, unknown, plan)).result == answer.result
    with pytest.raises(VerificationFailed):
        await service.calculator.answer_again(ADA, row._replace(sha256=bytes(32)), plan)


async def test_the_cached_result_of_a_recorded_calculation_is_sent_if_it_is_the_same(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cached result of a calculation is sent only if it has the recorded digest; otherwise NotFound is raised."""
    answer = await service.one("fibonacci", "100")
    (row,) = service.history.rows
    kept: list[Result | None] = [answer.result, answer.result, None]

    async def cached(key: str) -> Result | None:
        return kept.pop(0)

    monkeypatch.setattr(service.results, "look_up", cached)
    assert await service.calculator.make_again(ADA, row, None) == answer.result
    for other in (row._replace(sha256=bytes(32)), row):
        with pytest.raises(NotFound):
            await service.calculator.make_again(ADA, other, None)


async def test_a_short_expression_is_previewed_in_this_process(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preview of a short expression is made without a worker process, that of a long one in a worker process."""

    async def call(*_: object) -> Preview:
        raise Overloaded("No worker is free.")

    monkeypatch.setattr(Computer, "call", call)
    short = await service.calculator.preview(ADA, ("evaluate", ("2 + 2",), DEFAULT_OPTIONS))
    assert short.expression == "2 + 2"
    with pytest.raises(Overloaded):
        await service.calculator.preview(ADA, ("evaluate", ("1 + " * 30 + "1",), DEFAULT_OPTIONS))
