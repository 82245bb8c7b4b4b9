"""Contract tests for the counters of rate limits, in this process and in Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from pycalc.cache import open_cache
from pycalc.cache.base import Bound, CounterStore, Shared
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.counters import Counters
from tests.contract.backends import each
from tests.harness.counting import count, count_of, spend_one
from tests.harness.redis import AnyRedis
from tests.harness.waiting import found

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]


@pytest.fixture(params=each(["memory", "fake redis", "redis"]))
async def counters(request: pytest.FixtureRequest) -> AsyncIterator[CounterStore]:
    """Return an empty store of counters."""
    if request.param == "memory":
        yield Counters()
        return
    server: AnyRedis = request.getfixturevalue("shared_fake_redis" if request.param == "fake redis" else "real_redis")
    cache = await open_cache(f"{server.url}?namespace=test-{secrets.token_hex(8)}", Metrics())
    assert isinstance(cache, Shared)
    yield cache.counters("calculations")
    await cache.aclose()


async def test_what_is_added_is_counted(counters: CounterStore) -> None:
    """A counter holds the sum of the additions to its key; an unused key is zero."""
    assert await count(counters, "ada") == 1
    assert await count(counters, "ada", 4) == 5
    assert await count(counters, "bob") == 1
    assert await count_of(counters, "ada") == 5
    assert await count_of(counters, "eve") == 0


async def seconds_left(counters: CounterStore) -> float:
    """Return the seconds until the counter ``ada`` expires."""
    (spent,) = await counters.spend(0, [Bound("ada", 60)])
    return spent.seconds


async def test_a_counter_expires(counters: CounterStore) -> None:
    """A counter expires at a fixed time after its first addition; later additions do not prolong it."""
    await count(counters, "ada", expiry=1)
    assert 0 < await seconds_left(counters) <= 1.01
    assert await count(counters, "ada") == 2
    assert await seconds_left(counters) <= 1.01

    async def gone() -> bool | None:
        return await count_of(counters, "ada") == 0 or None

    await found(gone, "the counter has expired")
    assert await seconds_left(counters) == 0
    assert await count(counters, "ada") == 1
    assert 59 < await seconds_left(counters) <= 60


async def test_a_counter_is_forgotten(counters: CounterStore) -> None:
    """Removing one counter leaves the others unchanged."""
    for key in ("ada", "bob"):
        await count(counters, key)
    await counters.clear("ada")
    await counters.clear("eve")
    assert (await count_of(counters, "ada"), await count_of(counters, "bob")) == (0, 1)


async def test_none_is_below_zero(counters: CounterStore) -> None:
    """A counter never falls below zero, even if more is subtracted than it holds."""
    assert await count(counters, "ada", -1) == 0
    assert await count_of(counters, "ada") == 0
    assert await count(counters, "ada", 2) == 2
    assert await count(counters, "ada", -1) == 1
    assert await count(counters, "ada", -5) == 0
    assert await count(counters, "ada") == 1
    assert await count(counters, "ada", -1) == 0
    assert await count_of(counters, "ada") == 0


async def test_all_of_it_or_nothing_is_spent(counters: CounterStore) -> None:
    """Spending more than is left of the limit changes nothing; each reply has the seconds until the counter expires."""
    allowed, used, seconds = await spend_one(counters, "ada", 7, 10)
    assert (allowed, used) == (True, 7)
    assert 59 < seconds <= 60
    assert (await spend_one(counters, "ada", 4, 10))[:2] == (False, 7)
    assert (await spend_one(counters, "ada", 3, 10))[:2] == (True, 10)
    for _ in range(3):
        allowed, used, seconds = await spend_one(counters, "ada", 1, 10)
        assert (allowed, used) == (False, 10)
        assert 50 < seconds <= 60
    assert (await spend_one(counters, "bob", 11, 10))[:2] == (False, 0)
    assert (await spend_one(counters, "bob", 10, 10))[:2] == (True, 10)


async def test_several_counters_are_spent_together(counters: CounterStore) -> None:
    """If an amount would exceed the limit of one of several counters, it is added to none of them.

    For each counter, the reply says whether the amount is within the limit, and the seconds until the counter expires.
    """
    minute, day = Bound("ada/60", 60, 10), Bound("ada/86400", 86_400, 12)
    first = await counters.spend(8, (minute, day))
    assert [each[:2] for each in first] == [(True, 8), (True, 8)]
    assert [round(each.seconds) for each in first] == [60, 86_400]
    assert [each[:2] for each in await counters.spend(3, (minute, day))] == [(False, 8), (True, 8)]
    assert [each[:2] for each in await counters.spend(5, (minute, day))] == [(False, 8), (False, 8)]
    assert [each[:2] for each in await counters.spend(2, (minute, day))] == [(True, 10), (True, 10)]
    assert [each[:2] for each in await counters.spend(0, (minute, day))] == [(True, 10), (True, 10)]


async def test_no_more_than_the_limit_is_spent_at_once(counters: CounterStore) -> None:
    """Of a hundred simultaneous requests, a limit of ten allows exactly ten."""
    spent = await asyncio.gather(*(spend_one(counters, "ada", 1, 10) for _ in range(100)))
    assert sum(each.allowed for each in spent) == 10
    assert sorted(each.used for each in spent if each.allowed) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


async def test_a_refused_amount_uses_up_nothing(counters: CounterStore) -> None:
    """A batch above the limit is refused and not counted; single calculations at the same time are allowed."""
    batch, *single = await asyncio.gather(
        spend_one(counters, "ada", 1_000, 600), *(spend_one(counters, "ada", 1, 600) for _ in range(100))
    )
    assert batch[:2] == (False, 0)
    assert sum(each.allowed for each in single) == 100
    assert await count_of(counters, "ada") == 100


async def test_a_name_is_any_text(counters: CounterStore) -> None:
    """A counter's name may be empty or long, and may contain spaces, letters of any alphabet or a lone surrogate."""
    for key in ("ada lovelace", "ада", "a" * 1_000, "", "*", "\ud800"):
        assert await count(counters, key) == 1
    await counters.clear("*")
    assert await count_of(counters, "ada lovelace") == 1
