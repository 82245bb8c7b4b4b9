"""Counters that processes share; during an outage a process counts locally, and keeps its local counts in force."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pycalc.cache.base import Bound, Spent
from pycalc.errors import AnswerLost, CacheUnavailable, RateLimited, Unauthorized
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.counters import Counters, SharedCounters
from pycalc.services.limits.rate_limits import FailedLogins
from tests.harness.counting import count_of, spend_one

pytestmark = pytest.mark.anyio

HERE = "198.51.100.7"


class Remote(Counters):
    """Shared counters that can be unavailable, or can lose their reply after counting."""

    away = False
    unheard = False

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        if self.away:
            raise CacheUnavailable("away")
        spent = await super().spend(amount, bounds)
        if self.unheard:
            raise AnswerLost("late")
        return spent


class Process:
    """A process with local counters, which replace the shared ones during an outage."""

    def __init__(self, remote: Remote) -> None:
        self.counters = SharedCounters(remote, Counters(), Metrics(), "calculations")

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
    assert await count_of(remote, "ada") == 0
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
    assert await count_of(here.counters, "ada") == 9
    assert await here.spend(2) == (False, 9)
    assert await here.spend() == (True, 10)
    assert await here.spend() == (False, 10)


async def test_an_amount_is_counted_twice_rather_than_not() -> None:
    """If the shared counters' reply is lost, the amount is counted locally too, so that nothing is uncounted."""
    remote = Remote()
    counters = SharedCounters(remote, Counters(), Metrics(), "login-account")
    remote.unheard = True
    assert (await spend_one(counters, "ada", 1, 10))[:2] == (True, 1)
    remote.unheard = False
    assert await count_of(counters, "ada") == 2


async def test_lost_answers_admit_no_more_than_the_limit() -> None:
    """If the shared counters' replies to a hundred concurrent requests are lost, only the limit of ten is admitted."""
    remote = Remote()
    here = Process(remote)
    remote.unheard = True
    answers = await asyncio.gather(*(here.spend() for _ in range(100)))
    assert [fits for fits, _ in answers] == [True] * 10 + [False] * 90
    assert answers[-1] == (False, 10)
    assert len(here.counters._own) == 1


async def test_failures_of_an_outage_fill_the_window_with_those_after_it() -> None:
    """Nine failed logins during an outage and one after it reach the limit of ten."""
    remote = Remote()
    limit = FailedLogins("10/minute", Metrics())
    for failures in limit._kinds:
        own = failures._windows.counters
        assert isinstance(own, Counters)
        failures._windows.counters = SharedCounters(remote, own, Metrics(), "login-account")

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
