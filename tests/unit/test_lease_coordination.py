"""Single flight across processes: who makes a result, who waits for it and for how long, over leases in memory."""

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
    """Leases whose answers are set beforehand; each takes a tenth of a second of the test's clock."""

    def __init__(self, *answers: bool | Result | Exception) -> None:
        self.answers = list(answers)
        self.now = 100.0
        self.asked = self.released = 0

    def hands_on(self, digits: int) -> bool:
        """See Leases."""
        return digits <= 1_000

    def claim(self, key: str) -> FakeLeases:
        """See Leases."""
        return self

    async def take(self) -> bool | Result:
        """See Claim; the last answer is repeated."""
        self.asked += 1
        self.now += 0.1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def release(self) -> None:
        """See Claim."""
        self.released += 1


def a_plan(seconds: float, digits: int = 21) -> Plan:
    """Return a plan that takes so long."""
    return replace(make_plan(10**6, "fibonacci", ("100",), DEFAULT_OPTIONS), seconds=seconds, digits=digits)


HERE, THERE = result(), result()


async def joined(
    monkeypatch: pytest.MonkeyPatch, leases: FakeLeases, plan: Plan, longest: float = 30.0
) -> tuple[Found, dict[str, float]]:
    """Return what comes of a plan, and what was counted."""
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
    """From 20 ms on; what the cache would not hand on is made in each process."""
    leases = FakeLeases(True)
    found, _ = await joined(monkeypatch, leases, a_plan(seconds, digits))
    assert (found, leases.asked, leases.released) == (Found(HERE, cached=False), asked, asked)


async def test_who_has_the_lease_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, or after another process has given it back."""
    for answers in ([True], [False, False, True]):
        found, counts = await joined(monkeypatch, FakeLeases(*answers), a_plan(1.0))
        assert (found, counts) == (Found(HERE, cached=False), {"leader": 1})


async def test_who_waited_is_handed_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was in the cache from the first is a hit, and no flight that was shared."""
    assert await joined(monkeypatch, FakeLeases(THERE), a_plan(1.0)) == (Found(THERE, cached=True), {})
    assert await joined(monkeypatch, FakeLeases(False, THERE), a_plan(1.0)) == (
        Found(THERE, cached=True),
        {"shared": 1},
    )


@pytest.mark.parametrize(("seconds", "longest", "waited"), [(0.02, 30.0, 0.6), (0.1, 30.0, 1.0), (9.0, 0.3, 0.3)])
async def test_another_process_is_not_waited_for_longer_than_it_should_take(
    monkeypatch: pytest.MonkeyPatch, seconds: float, longest: float, waited: float
) -> None:
    """Half a second and five times the estimate, and no longer than the deadline; then it is made here."""
    leases = FakeLeases(False)
    found, counts = await joined(monkeypatch, leases, a_plan(seconds), longest)
    assert (found, counts, leases.released) == (Found(HERE, cached=False), {"timed_out": 1}, 1)
    assert leases.now - 100.0 == pytest.approx(waited, abs=0.101)
    assert leases.now - 100.0 >= waited - 0.001


async def test_without_a_cache_everybody_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not answer the first question, or a quarter of a second after its last answer."""
    away = CacheUnavailable("The cache does not answer.")
    found, counts = await joined(monkeypatch, FakeLeases(away), a_plan(1.0))
    assert (found, counts) == (Found(HERE, cached=False), {"no_coordination": 1})
    leases = FakeLeases(False, away, away, away)
    found, counts = await joined(monkeypatch, leases, a_plan(1.0))
    assert (found, counts, leases.asked) == (Found(HERE, cached=False), {"no_coordination": 1}, 4)
    found, counts = await joined(monkeypatch, FakeLeases(False, away, away, THERE), a_plan(1.0))
    assert (found, counts) == (Found(THERE, cached=True), {"shared": 1})
