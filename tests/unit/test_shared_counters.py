"""Counters that processes share; during an outage a process counts locally, and keeps its local counts in force."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from pycalc.cache.base import Bound, Shared, Spent
from pycalc.errors import AnswerLost, CacheUnavailable, RateLimited, Unauthorized
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.calculation_rate import calculation_limits
from pycalc.services.limits.counters import Counters, SharedCounters
from pycalc.services.limits.rate_limits import FailedLogins
from tests.harness.counting import spend_one

pytestmark = pytest.mark.anyio

HERE = "198.51.100.7"


class Remote(Counters):
    """Shared counters that can be unavailable, or can lose their reply after counting."""

    away = False
    unheard = False

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        self._require()
        return await super().incr(key, expiry, amount)

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        self._require()
        spent = await super().spend(amount, bounds)
        if self.unheard:
            raise AnswerLost("late")
        return spent

    async def get(self, key: str) -> int:
        self._require()
        return await super().get(key)

    def _require(self) -> None:
        if self.away:
            raise CacheUnavailable("away")


class Process:
    """A process with local counters, which replace the shared ones during an outage."""

    def __init__(self, remote: Remote) -> None:
        self.counters = SharedCounters(remote, Counters(), Metrics(), "calculations", lenient=True)

    async def spend(self, amount: int = 1) -> tuple[bool, int]:
        """Spend from a limit of ten a minute; return whether the amount fits, and how much is used."""
        return (await spend_one(self.counters, "ada", amount, 10))[:2]


async def test_what_was_counted_during_an_outage_is_used() -> None:
    """Calculations counted locally during an outage use up this process's limit until the window ends."""
    remote = Remote()
    here, there = Process(remote), Process(remote)
    remote.away = True
    assert await here.spend(10) == (True, 10)
    remote.away = False
    assert await here.spend() == (False, 10)
    assert 59 < (await spend_one(here.counters, "ada", 1, 10)).seconds <= 60
    assert await remote.get("ada") == 0
    assert await there.spend(10) == (True, 10)
    assert await here.spend() == (False, 10)


async def test_both_kinds_add_up() -> None:
    """Local and shared counts add up; a request that does not fit counts nothing."""
    remote = Remote()
    here = Process(remote)
    assert await here.spend(2) == (True, 2)
    remote.away = True
    assert await here.spend(7) == (True, 7)
    remote.away = False
    assert await here.counters.get("ada") == 9
    assert await here.spend(2) == (False, 9)
    assert await here.spend() == (True, 10)
    assert await here.spend() == (False, 10)


async def test_what_the_others_may_have_counted_is_not_counted_here_too() -> None:
    """If the shared counters' reply is lost, no lasting local count is kept, because they may have counted already."""
    remote = Remote()
    here, there = Process(remote), Process(remote)
    remote.unheard = True
    assert await here.spend(6) == (True, 6)
    remote.unheard = False
    assert await here.counters.get("ada") == 6
    assert await here.spend(5) == (False, 6)
    assert await there.spend(4) == (True, 10)
    assert await here.spend() == (False, 10)


async def test_a_guess_is_counted_twice_rather_than_not() -> None:
    """If the shared counters' reply is lost, a failed login is counted locally too, so that no guess is uncounted."""
    remote = Remote()
    counters = SharedCounters(remote, Counters(), Metrics(), "login-account")
    remote.unheard = True
    assert (await spend_one(counters, "ada", 1, 10))[:2] == (True, 1)
    remote.unheard = False
    assert await counters.get("ada") == 2


async def test_lost_answers_admit_no_more_than_the_limit() -> None:
    """If the shared counters' replies to a hundred concurrent requests are lost, only the limit of ten is admitted."""
    remote = Remote()
    here = Process(remote)
    remote.unheard = True
    answers = await asyncio.gather(*(here.spend() for _ in range(100)))
    assert [fits for fits, _ in answers] == [True] * 10 + [False] * 90
    assert answers[-1] == (False, 10)
    assert len(here.counters) == 1


class Cache:
    """A shared cache of which only the counters are used."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def counters(self, name: str) -> Remote:
        assert name == "calculations"
        return self._remote


async def test_a_lost_answer_does_not_use_up_the_limit_of_calculations() -> None:
    """If the reply of the shared counters is lost, calculations count in this process for one second only."""
    time = 1000.0
    remote = Remote(clock=lambda: time)
    limit = calculation_limits(Metrics(), cast("Shared", Cache(remote)), clock=lambda: time)("10/hour")
    assert limit is not None
    remote.unheard = True
    await limit.spend(b"ada", 10)
    with pytest.raises(RateLimited):
        await limit.spend(b"ada")
    time += 1
    await limit.spend(b"ada", 10)


async def test_a_lost_answer_lets_nothing_pass_that_can_not_fit() -> None:
    """If replies of the shared counters are lost, an amount is refused if it and the local counts exceed the limit."""
    remote = Remote()
    here = Process(remote)
    remote.unheard = True
    assert await here.spend(11) == (False, 0)
    remote.away = True
    assert await here.spend(7) == (True, 7)
    remote.away = False
    assert await here.spend(4) == (False, 7)
    assert await here.spend(3) == (True, 10)
    remote.unheard = False
    assert await here.spend() == (False, 10)


async def test_failures_of_an_outage_fill_the_window_with_those_after_it() -> None:
    """Nine failed logins during an outage and one after it reach the limit of ten."""
    remote = Remote()
    limit = FailedLogins("10/minute", Metrics())
    for failures in (limit._accounts, limit._addresses):
        own = failures._counters
        assert isinstance(own, Counters)
        failures._counters = SharedCounters(remote, own, Metrics(), "login-account")
        for window in failures._windows:
            window.counters = failures._counters

    async def fail() -> int:
        try:
            async with limit.attempt("ada", HERE):
                raise Unauthorized("wrong")
        except Unauthorized:
            return 0
        except RateLimited as refusal:
            return refusal.retry_after

    remote.away = True
    assert [await fail() for _ in range(9)] == [0] * 9
    remote.away = False
    assert await fail() == 0
    assert 55 <= await fail() <= 60
