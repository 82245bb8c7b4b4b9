"""Calculations from plan to record, with a cache and a history in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from time import perf_counter, time_ns

import pytest

from pycalc.cache import open_cache
from pycalc.errors import ComputationTimeout, InvalidInput, PayloadTooLarge, RangeNotSatisfiable, ResultTooLarge
from pycalc.models.auth import Principal, Role
from pycalc.models.ids import IdSource
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations.batch import BatchCalculator
from pycalc.services.calculations.calculator import Answer, Calculator
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options
from pycalc.services.calculations.result_finder import ResultFinder
from pycalc.services.calculations.single_flight import Coordination
from pycalc.services.compute.computer import Computer
from pycalc.services.compute.loop_scheduler import LoopScheduler
from pycalc.services.history.recorder import Recorder
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.quotas import compute_quota, digits_quota
from tests.harness.stores import USER_ID, MemoryHistoryStore

pytestmark = pytest.mark.anyio

ADA = Principal(USER_ID, "ada", Role.USER, bytes(16), 2e9)
MAX_DIGITS = 2_000


class Service:
    """The calculators of single requests and of batches, with their history and metrics."""

    def __init__(
        self, calculator: Calculator, batches: BatchCalculator, history: MemoryHistoryStore, metrics: Metrics
    ) -> None:
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
    yield Service(calculator, batches, history, metrics)
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
    """A batch may return as many digits in all as one calculation may; an item above the remainder is refused."""
    lengths = [1_000, 999, 2, 1, 1]
    requests = [("pow", ("10", str(length - 1)), DEFAULT_OPTIONS) for length in lengths]
    answers = await service.batches.calculate(ADA, list(requests), ExitStack())
    assert [isinstance(answer, PayloadTooLarge) for answer in answers] == [False, False, True, False, True]


async def hang(*_: object) -> None:
    """Wait until the caller is cancelled."""
    await asyncio.Event().wait()


async def test_what_a_batch_s_deadline_leaves_undone_is_a_timeout(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a batch's deadline, an unfinished item is answered with a timeout, an invalid one with its own error."""
    metrics = Metrics()
    memory = ConcurrencyLimit(1 << 30, metrics.exports_refused, "Too much at once.")
    monkeypatch.setattr(service.calculator, "find", hang)
    batches = BatchCalculator(service.calculator, LoopScheduler(), memory, metrics, seconds=0.0)
    wrong = InvalidInput("n is missing.")
    seven = ("fibonacci", ("7",), DEFAULT_OPTIONS)
    answers = await batches.calculate(ADA, [wrong, seven, wrong, seven], ExitStack())
    assert [type(answer) for answer in answers] == [InvalidInput, ComputationTimeout] * 2
    assert (service.history.rows, service.outcomes("fibonacci")) == ([], {"timeout": 1})


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
    """The quotient of 1 and an irrational number has an unknown size; if it exceeds the limit, it is not returned."""
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
