"""A slow Redis: look-ups stop waiting for it, and stores do not delay them."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis as Client

from pycalc.cache.redis.client import Times
from pycalc.errors import AnswerLost
from pycalc.models.results import Result
from pycalc.observability import requests
from pycalc.observability.requests import REQUEST, RequestContext
from tests.harness.caches import opened
from tests.harness.proxy import proxy
from tests.harness.redis import Redis
from tests.harness.results import digits, result
from tests.harness.waiting import found, until

pytestmark = pytest.mark.anyio

OPENED = "pycalc_cache_circuit_opened_total"
# Eight times the production limit for a reply, because the test machine may be busy.
TIMES = Times(answer=0.4)


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run each test with asyncio's event loop and with uvloop, which check their timers at different times."""
    return "asyncio", {"use_uvloop": request.param}


async def test_a_redis_whose_replies_are_late_is_not_used(real_redis: Redis) -> None:
    """After three late look-ups Redis is only probed, until it is quick again."""
    url = "redis://127.0.0.1:{}/0"
    async with proxy(real_redis.port) as between, opened(url.format(between.port), times=TIMES) as there:
        await there.healed()
        between.delay = 1.5 * TIMES.answer
        for _ in range(3):
            assert there.metric("pycalc_cache_circuit") == 0
            with pytest.raises(AnswerLost):
                await there.cache.get("key")
        assert there.metric("pycalc_cache_circuit") == 2
        for _ in range(100):
            there.refused_at_once()
        probes = len(between.received)
        await until(lambda: len(between.received) > probes + 1, "it is probed twice", 30)
        assert there.metric("pycalc_cache_circuit") > 0
        between.delay = 0.0
        await there.healed()
        assert there.metric(OPENED) == 1


async def test_one_request_waits_once(real_redis: Redis) -> None:
    """After one late reply, a request and its tasks send no more commands to Redis."""
    async with (
        proxy(real_redis.port) as between,
        opened(f"redis://127.0.0.1:{between.port}/0", times=TIMES) as there,
    ):
        await there.healed()
        between.delay = 1.5 * TIMES.answer
        outside = requests.current.set({REQUEST: RequestContext(), "headers": []})
        with pytest.raises(AnswerLost):
            await asyncio.create_task(there.cache.get("key"))
        assert there.metric("pycalc_cache_circuit") == 0
        there.refused_at_once()
        requests.current.reset(outside)


async def test_slow_answers_in_time_are_used(real_redis: Redis) -> None:
    """Slow replies within the limit do not open the circuit."""
    async with (
        proxy(real_redis.port) as between,
        opened(f"redis://127.0.0.1:{between.port}/0", times=TIMES) as there,
    ):
        between.delay = 0.3 * TIMES.answer
        for n in range(4):
            assert await there.cache.get(f"pow:{n}:1") is None
        assert there.metric(OPENED) == 0


async def test_a_slow_store_is_in_no_look_ups_way(own_real_redis: Redis) -> None:
    """If Redis stops accepting writes, look-ups go on, and waiting results are dropped and counted."""
    async with opened(f"{own_real_redis.url}?max_bytes=0", times=TIMES) as there:
        with Client(port=own_real_redis.port) as client:
            client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
            await there.cache.put("fibonacci:1", result(digits(100_000)))
            await until(lambda: there.metric("pycalc_cache_dropped_total", reason="circuit") == 1, "one is late")
            await there.cache.put("fibonacci:2", result(b"2"))
            await until(lambda: there.metric("pycalc_cache_dropped_total", reason="circuit") == 2, "one is dropped")
            for n in range(100):
                assert await there.cache.get(f"pow:{n}:1") is None
            assert there.metric(OPENED) == 0
            client.execute_command("CLIENT", "UNPAUSE")

        async def stored() -> Result | None:
            await there.cache.put("fibonacci:3", result(b"3"))
            return await there.cache.get("fibonacci:3")

        await found(stored, "results are stored again")
        assert there.metric(OPENED) == 0
