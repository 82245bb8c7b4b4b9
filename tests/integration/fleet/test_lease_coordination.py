"""Single flight across processes: two caches on one Redis, like two instances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from redis import Redis as Client

from pycalc.cache.base import Claim
from pycalc.cache.breaker import CircuitState
from pycalc.cache.redis.cache import RedisCache
from pycalc.cache.redis.client import Times
from pycalc.errors import CacheUnavailable, ComputationTimeout
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, make_plan
from pycalc.services.calculations.single_flight import Coordination
from pycalc.services.compute.plan import Plan
from tests.harness.proxy import Proxy, proxy
from tests.harness.redis import AnyRedis
from tests.harness.results import digits, result
from tests.harness.waiting import found, until

pytestmark = pytest.mark.anyio

PLAN = make_plan(25_000_000, "fibonacci", ("10000000",), DEFAULT_OPTIONS)
OTHER = make_plan(25_000_000, "fibonacci", ("10000001",), DEFAULT_OPTIONS)
MADE = result(digits(2_089_877))


class Instance:
    """The part of an instance that computes and shares results."""

    def __init__(self, cache: RedisCache, metrics: Metrics) -> None:
        self.cache = cache
        self.metrics = metrics
        self.fleet = Coordination(cache, metrics, 30.0)
        self.made = self.looked_up = 0
        self.gate = asyncio.Event()
        self.failure: Exception | None = None

    async def make(self) -> Result:
        """Wait for ``gate``. Then raise ``failure`` if it is set; otherwise, cache the result and return it."""
        self.made += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        await self.cache.put(PLAN.key, MADE)
        return MADE

    async def look_up(self) -> Result | None:
        """Look up the result in the cache, and count the look-up."""
        self.looked_up += 1
        return await self.cache.get(PLAN.key)

    def join(self, plan: Plan = PLAN) -> asyncio.Task[Result]:
        """Start a task that gets the result of ``plan`` by single flight."""

        async def joined() -> Result:
            return (await self.fleet.join(plan, self.look_up, self.make)).result

        return asyncio.create_task(joined())

    def outcomes(self) -> dict[str, float]:
        """Return how often each outcome of a single flight occurred, except those that never did."""
        names = ("leader", "shared", "timed_out", "no_coordination")
        value = self.metrics.registry.get_sample_value
        counts = {name: value("pycalc_single_flight_total", {"outcome": name}) for name in names}
        return {name: count for name, count in counts.items() if count}


PATIENT = Times(answer=5.0)


async def instance(url: str, times: Times = PATIENT) -> Instance:
    """Open an instance."""
    metrics = Metrics()
    return Instance(await RedisCache.of_url(url, metrics, lambda: "0", times), metrics)


@pytest.fixture
async def pair(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Instance, Instance]]:
    """Open two instances, with the test's own time limits if it has any."""
    times = getattr(request, "param", PATIENT)
    instances = await instance(redis_url, times), await instance(redis_url, times)
    yield instances
    for each in instances:
        await each.cache.aclose()


async def led(here: Instance) -> asyncio.Task[Result]:
    """Let an instance get the lease and begin to compute; return the task."""
    task = here.join()
    await until(lambda: here.made == 1, "it has begun")
    return task


async def test_one_makes_it_and_the_other_gets_it(pair: tuple[Instance, Instance]) -> None:
    """While one instance computes a result, the other one waits; then it gets the result without computing."""
    here, there = pair
    leading = await led(here)
    waiting = [there.join() for _ in range(3)]
    done, _ = await asyncio.wait(waiting, timeout=0.1)
    assert not done
    here.gate.set()
    assert await leading == MADE
    assert await asyncio.gather(*waiting) == [MADE] * 3
    assert (here.made, there.made) == (1, 0)
    assert (here.outcomes(), there.outcomes()) == ({"leader": 1}, {"shared": 3})
    assert (here.looked_up, there.looked_up) == (0, 0)


async def test_what_another_one_made_is_handed_over(pair: tuple[Instance, Instance]) -> None:
    """The instance that computes a result gets it as computed, and the other instance gets it as cached."""
    here, there = pair
    leading = asyncio.create_task(here.fleet.join(PLAN, here.look_up, here.make))
    await until(lambda: here.made == 1, "it has begun")
    waiting = asyncio.create_task(there.fleet.join(PLAN, there.look_up, there.make))
    here.gate.set()
    assert await leading == (MADE, False)
    assert await waiting == (MADE, True)


async def test_a_later_request_finds_the_result(pair: tuple[Instance, Instance]) -> None:
    """The result is stored before the lease is released, so that no other instance computes it in between."""
    here, there = pair
    here.gate.set()
    for _ in range(10):
        await here.join()
        assert await there.join() == MADE
    assert there.made == 0
    assert here.outcomes() == {"leader": 1}


@pytest.mark.parametrize("pair", [PATIENT._replace(lease=1.0, renewal=0.05)], indirect=True)
async def test_a_renewed_lease_is_kept(pair: tuple[Instance, Instance]) -> None:
    """A lease is renewed while its computation lasts."""
    here, there = pair
    leading, waiting = await led(here), there.join(replace(PLAN, seconds=5.0))
    await asyncio.wait({waiting}, timeout=1.5)
    assert (waiting.done(), there.made) == (False, 0)
    here.gate.set()
    assert [await leading, await waiting] == [MADE, MADE]


@pytest.mark.parametrize("pair", [PATIENT._replace(lease=0.3)], indirect=True)
async def test_when_the_leader_is_gone_another_one_makes_it(pair: tuple[Instance, Instance]) -> None:
    """If the holder of a lease disconnects without releasing it, it expires, and another instance computes."""
    here, there = pair
    assert await here.cache.claim(PLAN.key).take() is True
    await here.cache.aclose()
    there.gate.set()
    assert await there.join() == MADE
    assert (there.made, there.outcomes()) == (1, {"leader": 1})


async def test_when_the_leader_fails_another_one_tries(pair: tuple[Instance, Instance]) -> None:
    """If the computation of one instance fails, the instance that waits for it computes the result."""
    here, there = pair
    here.failure = ComputationTimeout("too long")
    leading, waiting = await led(here), there.join()
    here.gate.set()
    there.gate.set()
    with pytest.raises(ComputationTimeout):
        await leading
    assert await waiting == MADE
    assert there.made == 1


async def test_a_leader_whose_clients_disconnect_releases_the_lease(pair: tuple[Instance, Instance]) -> None:
    """If the clients of the computing instance disconnect, it releases the lease, and the waiting instance computes."""
    here, there = pair
    leading, waiting = await led(here), there.join()
    leading.cancel()
    there.gate.set()
    assert await waiting == MADE
    assert there.made == 1


@pytest.mark.parametrize(("seconds", "wait"), [(0.02, 0.6), (0.1, 1.0)])
async def test_the_wait_is_bounded_by_the_estimate(
    pair: tuple[Instance, Instance], seconds: float, wait: float
) -> None:
    """An instance waits for another one's result for 0.5 s plus five times the estimated time, then computes it.

    A request with a longer estimate still waits then.
    """
    here, there = pair
    leading = await led(here)
    other = here.cache.claim(OTHER.key)
    assert await other.take() is True
    there.gate.set()
    patient = there.join(replace(OTHER, seconds=(3 * wait - 0.5) / 5))
    began = monotonic()
    assert await there.join(replace(PLAN, seconds=seconds)) == MADE
    assert monotonic() - began >= wait - 0.01
    assert not patient.done()
    assert (there.made, there.outcomes()) == (1, {"timed_out": 1})
    patient.cancel()
    other.release()
    here.gate.set()
    await leading


async def test_the_wait_is_bounded_by_the_time_limit(pair: tuple[Instance, Instance]) -> None:
    """After its time limit, an instance stops waiting for another one's result, and computes without the lease."""
    here, there = pair
    there.fleet = Coordination(there.cache, there.metrics, longest=0.1)
    leading = await led(here)
    there.gate.set()
    assert await there.join() == MADE
    assert there.outcomes() == {"timed_out": 1}
    here.gate.set()
    await leading


@pytest.mark.parametrize("changes", [{"seconds": 0.01}, {"digits": 5_000_000}], ids=["cheap", "very long"])
async def test_cheap_and_very_long_results_are_not_coordinated(
    pair: tuple[Instance, Instance], changes: dict[str, Any]
) -> None:
    """A result that takes less than 20 ms, or is too long to be shared, is computed by each instance."""
    here, there = pair
    leading = await led(here)
    there.gate.set()
    await there.join(replace(PLAN, **changes))
    assert (there.looked_up, there.made, there.outcomes()) == (1, 1, {})
    here.gate.set()
    await leading


async def test_without_redis_each_instance_computes(own_redis: AnyRedis) -> None:
    """If Redis stops, a waiting request soon computes the result itself, and a later request does so at once.

    Neither counts as timed out.
    """
    here, there = await instance(own_redis.url), await instance(own_redis.url)
    leading, waiting = await led(here), there.join()
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    own_redis.kill()
    there.gate.set()
    assert await waiting == MADE
    assert await there.join() == MADE
    assert there.outcomes() == {"no_coordination": 2}
    here.gate.set()
    assert await leading == MADE
    for each in (here, there):
        await each.cache.aclose()


@pytest.mark.parametrize("pair", [PATIENT._replace(lease=60.0)], indirect=True)
async def test_a_lease_is_not_taken_twice(pair: tuple[Instance, Instance]) -> None:
    """Of 40 concurrent attempts to take a lease, one succeeds; later attempts fail until the lease is released."""
    here, there = pair
    claims = [each.cache.claim("fibonacci:5") for each in pair * 20]
    turns = await asyncio.gather(*(claim.take() for claim in claims))
    assert (turns.count(True), turns.count(False)) == (1, 39)
    later = there.cache.claim("fibonacci:5")
    for claim, turn in zip(claims, turns, strict=True):
        if not turn:
            claim.release()
    assert await later.take() is False
    leading = claims[turns.index(True)]
    leading.release()
    leading.release()
    await found(lambda: held(here.cache.claim("fibonacci:5")), "the lease can be taken again")
    assert await later.take() is False


async def held(claim: Claim) -> bool | None:
    """Try to take a lease; return True, or None if it is not granted."""
    return await claim.take() is True or None


async def test_a_repeated_claim_gets_its_own_lease(redis_server: AnyRedis, redis_url: str) -> None:
    """If the reply that grants a lease is lost, a repeated attempt succeeds, and another instance's attempt fails."""
    async with proxy(redis_server.port) as between:
        here = await instance(redis_url.replace(str(redis_server.port), str(between.port)))
        there = await instance(redis_url)
        claim = await asked_in_vain(here, between)
        assert await there.cache.claim("fibonacci:5").take() is False
        assert await claim.take() is True
        claim.release()
        await found(lambda: held(there.cache.claim("fibonacci:5")), "it is released")
        for each in (here, there):
            await each.cache.aclose()


async def test_a_lease_granted_by_a_lost_answer_is_released(redis_server: AnyRedis, redis_url: str) -> None:
    """If the reply that grants a lease is lost, a release by the requester still frees the lease in Redis."""
    times = PATIENT._replace(lease=60.0)
    async with proxy(redis_server.port) as between:
        here = await instance(redis_url.replace(str(redis_server.port), str(between.port)), times)
        there = await instance(redis_url, times)
        claim = await asked_in_vain(here, between)
        claim.release()
        await found(lambda: held(there.cache.claim("fibonacci:5")), "it is released")
        for each in (here, there):
            await each.cache.aclose()


async def asked_in_vain(here: Instance, between: Proxy) -> Claim:
    """Lose the reply in which Redis grants a lease; return the lease's ``Claim`` once the cache works again."""
    other = here.cache.claim("fibonacci:4")
    assert await other.take() is True
    other.release()
    claim = here.cache.claim("fibonacci:5")
    between.swallow_answers_to = b"EVALSHA"
    with pytest.raises(CacheUnavailable):
        await claim.take()
    await until(lambda: here.cache.client.breaker.state is CircuitState.CLOSED, "the cache is used again")
    assert between.swallowed == 1
    return claim


async def test_what_is_damaged_is_made_again(redis_server: AnyRedis, pair: tuple[Instance, Instance]) -> None:
    """If the result in Redis is damaged, an instance takes the lease and computes the result again."""
    here, there = pair
    here.gate.set()
    there.gate.set()
    await here.join()
    namespace = here.cache._namespace
    await until(lambda: len(redis_server.results(namespace)) == 1, "it is stored")
    with Client(port=redis_server.port) as client:
        client.set(redis_server.results(namespace)[0], b"a stranger's")
    assert await there.join() == MADE
    assert (there.made, there.outcomes()) == (1, {"leader": 1})
