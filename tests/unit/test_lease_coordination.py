"""Single flight across processes, with fake leases: who computes a result, and how long others wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations import single_flight
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, make_plan
from pycalc.services.calculations.single_flight import Coordination, Found
from pycalc.services.compute.plan import Plan
from tests.harness.results import result

pytestmark = pytest.mark.anyio


class FakeLeases:
    """Leases that give the test's answers; each request takes a tenth of a second of the test's clock."""

    def __init__(self, *answers: bool | Result | Exception) -> None:
        self.answers = list(answers)
        self.now = 100.0
        self.asked = self.released = 0

    def is_storable(self, digits: int) -> bool:
        return digits <= 1_000

    def claim(self, key: str) -> FakeLeases:
        return self

    async def take(self) -> bool | Result:
        """Return or raise the next of the test's answers, or the last one again."""
        self.asked += 1
        self.now += 0.1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def release(self) -> None:
        self.released += 1


def a_plan(seconds: float, digits: int = 21) -> Plan:
    """Return a plan with this estimated duration and size."""
    return replace(make_plan(10**6, "fibonacci", ("100",), DEFAULT_OPTIONS), seconds=seconds, digits=digits)


HERE, THERE = result(), result()


async def joined(
    monkeypatch: pytest.MonkeyPatch, leases: FakeLeases, plan: Plan, longest: float = 30.0
) -> tuple[Found, dict[str, float]]:
    """Find a plan's result by single flight; return the result and the outcomes that were counted."""
    monkeypatch.setattr(single_flight, "monotonic", lambda: leases.now)
    metrics = Metrics()

    async def look_up() -> None:
        return None

    async def make() -> Result:
        return HERE

    found = await Coordination(leases, metrics, longest).join(plan, look_up, make)
    told = metrics.registry.get_sample_value
    counts = {
        outcome: told("pycalc_single_flight_total", {"outcome": outcome}) or 0
        for outcome in ("leader", "shared", "timed_out", "no_coordination")
    }
    return found, {outcome: count for outcome, count in counts.items() if count}


@pytest.mark.parametrize(("seconds", "digits", "asked"), [(0.02, 1_000, 1), (0.019, 1_000, 0), (0.02, 1_001, 0)])
async def test_only_what_is_expensive_and_handed_on_is_agreed_on(
    monkeypatch: pytest.MonkeyPatch, seconds: float, digits: int, asked: int
) -> None:
    """A lease is requested only for a plan that takes at least 20 ms, and whose result the cache can store."""
    leases = FakeLeases(True)
    found, _ = await joined(monkeypatch, leases, a_plan(seconds, digits))
    assert (found, leases.asked, leases.released) == (Found(HERE, cached=False), asked, asked)


async def test_the_holder_of_the_lease_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that gets the lease computes, at once or after another process has released the lease."""
    for answers in ([True], [False, False, True]):
        found, counts = await joined(monkeypatch, FakeLeases(*answers), a_plan(1.0))
        assert (found, counts) == (Found(HERE, cached=False), {"leader": 1})


async def test_a_waiting_process_gets_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that arrives while a process waits for a lease counts as shared; one that was cached before does not."""
    assert await joined(monkeypatch, FakeLeases(THERE), a_plan(1.0)) == (Found(THERE, cached=True), {})
    assert await joined(monkeypatch, FakeLeases(False, THERE), a_plan(1.0)) == (
        Found(THERE, cached=True),
        {"shared": 1},
    )


@pytest.mark.parametrize(("seconds", "longest", "waited"), [(0.02, 30.0, 0.6), (0.1, 30.0, 1.0), (9.0, 0.3, 0.3)])
async def test_another_process_is_not_waited_for_longer_than_it_should_take(
    monkeypatch: pytest.MonkeyPatch, seconds: float, longest: float, waited: float
) -> None:
    """A process waits half a second plus five times the estimate, or until its deadline, and then computes itself."""
    leases = FakeLeases(False)
    found, counts = await joined(monkeypatch, leases, a_plan(seconds), longest)
    assert (found, counts, leases.released) == (Found(HERE, cached=False), {"timed_out": 1}, 1)
    assert leases.now - 100.0 == pytest.approx(waited, abs=0.101)
    assert leases.now - 100.0 >= waited - 0.001


async def test_without_a_cache_each_process_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the cache does not answer, each process computes the result itself."""
    away = CacheUnavailable("The cache does not answer.")
    for waits in (0, 1):
        leases = FakeLeases(*[False] * waits, away)
        found, counts = await joined(monkeypatch, leases, a_plan(1.0))
        assert (found, counts, leases.asked) == (Found(HERE, cached=False), {"no_coordination": 1}, waits + 1)
