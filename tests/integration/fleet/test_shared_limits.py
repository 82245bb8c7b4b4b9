"""Rate limits that instances count together in Redis, and separately while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis import Redis as Client

from pycalc.cache.redis.cache import RedisCache
from pycalc.cache.redis.client import Times
from pycalc.errors import LimitState, RateLimited, Unauthorized
from pycalc.observability import requests
from pycalc.observability.metrics import Metrics
from pycalc.observability.requests import REQUEST, RequestContext
from pycalc.services.limits.calculation_rate import calculation_limits
from pycalc.services.limits.rate_limits import AddressRateLimit, FailedLogins
from tests.harness.redis import AnyRedis, Redis
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

HERE, THERE = "198.51.100.7", "203.0.113.9"


class Instance:
    """The rate limits of one process."""

    def __init__(self, cache: RedisCache, metrics: Metrics) -> None:
        self._redis = cache.client.redis
        self.aclose = cache.aclose
        self.metrics = metrics
        self.logins = FailedLogins("10/minute", metrics, cache)
        self.registrations = AddressRateLimit("register", "registrations", "3/hour", metrics, cache)
        calculations = calculation_limits(metrics, cache)("10/minute")
        assert calculations is not None
        self.calculations = calculations
        self.checked = 0

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def sent_commands(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
        """Return a list to which every later command to Redis is appended."""
        asked: list[tuple[object, ...]] = []
        execute: Callable[..., Awaitable[object]] = self._redis.execute_command

        def noting(*command: object, **options: object) -> Awaitable[object]:
            asked.append(command)
            return execute(*command, **options)

        monkeypatch.setattr(self._redis, "execute_command", noting)
        return asked

    async def fail(self, name: str, address: str = HERE, gate: asyncio.Event | None = None) -> int:
        """Try a wrong password; return 0 if it was checked, or the seconds to wait if the limit refused it.

        With ``gate``, the check of the password ends only once this event is set.
        """
        try:
            async with self.logins.attempt(name, address):
                self.checked += 1
                if gate is not None:
                    await gate.wait()
                raise Unauthorized("wrong")
        except Unauthorized:
            return 0
        except RateLimited as refusal:
            return refusal.retry_after


async def instance(url: str, **times: Times) -> Instance:
    """Return the limits of a new process."""
    metrics = Metrics()
    return Instance(await RedisCache.of_url(url, metrics, lambda: "0", **times), metrics)


@pytest.fixture
async def pair(redis_url: str, patience: None) -> AsyncIterator[tuple[Instance, Instance]]:
    """Return the limits of two processes on one Redis."""
    instances = await instance(redis_url), await instance(redis_url)
    yield instances
    for each in instances:
        assert each.metric("pycalc_rate_limit_fallbacks_total", limit="calculations") == 0
        await each.aclose()


async def test_calculations_add_up(pair: tuple[Instance, Instance]) -> None:
    """Calculations on both instances count towards one limit; a refused request does not count, not even in part."""
    here, there = pair
    assert (await here.calculations.spend(b"ada", 6))[0][:3] == (10, 60, 4)
    assert (await there.calculations.spend(b"ada"))[0][:3] == (10, 60, 3)
    with pytest.raises(RateLimited) as refusal:
        await here.calculations.spend(b"ada", 4)
    (state,) = refusal.value.limits
    assert state[:3] == (10, 60, 3)
    assert 50 < state.reset == refusal.value.retry_after <= 60
    assert (await there.calculations.spend(b"ada", 3))[0][:3] == (10, 60, 0)
    for each in pair:
        with pytest.raises(RateLimited, match="No more than 10 calculations a minute"):
            await each.calculations.spend(b"ada")
        assert each.metric("pycalc_rate_limited_total", limit="calculations") >= 1
    assert await here.calculations.spend(b"bob") == (LimitState(10, 60, 9, 60, "minute"),)


async def test_registrations_add_up(pair: tuple[Instance, Instance]) -> None:
    """Only three registrations from one address are admitted, whichever instances they reach."""
    here, there = pair
    await here.registrations.admit(HERE)
    await there.registrations.admit(HERE)
    await here.registrations.admit(HERE)
    with pytest.raises(RateLimited) as refusal:
        await there.registrations.admit(HERE)
    assert 3_500 < refusal.value.retry_after <= 3_600
    await there.registrations.admit(THERE)


async def test_failed_logins_add_up(pair: tuple[Instance, Instance]) -> None:
    """After ten failed logins in all, the account must wait on every instance; other accounts need not."""
    here, there = pair
    assert [await each.fail("ada") for each in pair * 5] == [0] * 10
    for each in pair:
        assert 55 <= await each.fail("Ada") <= 60
    assert here.checked + there.checked == 10
    assert await there.fail("bob") == 0


async def test_a_success_forgets_the_failures_everywhere(pair: tuple[Instance, Instance]) -> None:
    """A login on one instance resets the account's failures per minute on all instances, but not those per hour."""
    here, there = pair
    assert [await here.fail("ada") for _ in range(5)] == [0] * 5
    async with there.logins.attempt("ada", HERE):
        pass
    assert [await here.fail("ada") for _ in range(10)] == [0] * 10
    assert 3_500 < await here.fail("ada") <= 3_600  # fifteen in an hour


async def test_tries_at_once_on_several_instances_are_ten(pair: tuple[Instance, Instance]) -> None:
    """Of a hundred concurrent guesses on both instances ten are checked; the others may try again after a second."""
    here, there = pair
    gate = asyncio.Event()
    guesses = [asyncio.create_task(each.fail("ada", gate=gate)) for each in pair * 50]
    await until(lambda: sum(guess.done() for guess in guesses) == 90, "ninety are refused")
    gate.set()
    assert sorted(await asyncio.gather(*guesses)) == [0] * 10 + [1] * 90
    assert here.checked + there.checked == 10
    assert await there.fail("ada") >= 55


async def test_addresses_add_up(pair: tuple[Instance, Instance]) -> None:
    """Failed logins from one address on a hundred accounts add up over both instances."""
    assert [await pair[n % 2].fail(f"user{n}") for n in range(100)] == [0] * 100
    assert await pair[0].fail("user100") >= 55
    assert await pair[1].fail("user100", THERE) == 0


async def test_without_redis_each_instance_counts_for_itself(
    own_real_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Redis hangs, each instance counts locally, and only its first command waits for Redis.

    The instance counts that command too, although Redis may have counted it. When Redis is back, an instance still
    refuses the users whom it refused before.
    """
    here, there = [await instance(own_real_redis.url, times=Times(answer=0.3)) for _ in range(2)]
    own_real_redis.pause()

    async def count(each: Instance) -> None:
        requests.current.set({REQUEST: RequestContext(), "headers": []})  # a log line reads them
        asked = each.sent_commands(monkeypatch)
        for left in range(9, -1, -1):
            assert (await each.calculations.spend(b"ada"))[0].remaining == left
        with pytest.raises(RateLimited):
            await each.calculations.spend(b"ada")
        assert [await each.fail("ada") for _ in range(11)] == [0] * 10 + [60]
        assert len(asked) == 1

    for each in (here, there):
        await asyncio.create_task(count(each))
    assert here.metric("pycalc_rate_limit_fallbacks_total", limit="calculations") == 11
    own_real_redis.resume()
    for each in (here, there):
        await until(lambda each=each: each.metric("pycalc_cache_circuit") == 0, "Redis is used")  # type: ignore[misc]
        with pytest.raises(RateLimited):
            await each.calculations.spend(b"ada")
    assert (await there.calculations.spend(b"bob", 10))[0].remaining == 0
    assert await there.fail("ada") == 60
    assert await there.fail("bob") == 0
    for each in (here, there):
        await each.aclose()


@pytest.mark.usefixtures("patience")
async def test_a_full_redis_is_as_good_as_none(own_redis: AnyRedis) -> None:
    """While Redis is full, counters are kept in the process."""
    each = await instance(own_redis.url)
    with Client(port=own_redis.port) as client:
        client.config_set("maxmemory", "1")
    assert [(await each.calculations.spend(b"ada"))[0].remaining for _ in range(10)] == list(range(9, -1, -1))
    with pytest.raises(RateLimited):
        await each.calculations.spend(b"ada")
    assert [await each.fail("ada") for _ in range(12)] == [0] * 10 + [60, 60]
    assert each.metric("pycalc_cache_circuit_opened_total") == 0
    await each.aclose()
