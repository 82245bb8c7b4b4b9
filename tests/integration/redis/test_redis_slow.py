"""A Redis that answers, but slowly: what look-ups wait for before nobody asks any more, and what stores do not do."""

from __future__ import annotations

import asyncio
from time import monotonic, perf_counter, sleep

import pytest
from redis import Redis as Client

from pycalc.backoff import Pauses
from pycalc.cache.redis import circuit
from pycalc.cache.redis import client as redis_client
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result
from tests.harness.caches import Opened, opened
from tests.harness.proxy import proxy
from tests.harness.redis import Redis
from tests.harness.results import digits, result
from tests.harness.waiting import found, until

pytestmark = pytest.mark.anyio

OPENED = "pycalc_cache_circuit_opened_total"
ANSWER_SECONDS = 0.4
"""Twenty times what an answer may take: this machine may be busy. The times in the tests are in proportion."""


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run each test on both event loops: they look at their timers at another moment of a turn."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an answer take longer, and try sooner whether Redis is well again."""
    monkeypatch.setattr(redis_client, "_ANSWER_SECONDS", ANSWER_SECONDS)
    monkeypatch.setattr(circuit, "reconnecting", lambda: Pauses(0.01, 0.5))


async def asked(there: Opened) -> int:
    """Look up again and again until the circuit is open; return how often Redis was asked, whatever it answered."""
    questions = 0
    deadline = monotonic() + 15
    while there.metric("pycalc_cache_circuit") != 2:
        assert monotonic() < deadline, f"{questions} questions"
        try:
            await there.cache.get("key")
            questions += 1
        except CacheUnavailable as refusal:
            questions += "is not asked" not in str(refusal)
        await asyncio.sleep(0)
    return questions


@pytest.mark.parametrize(("share", "most"), [(0.3, 14), (0.5, 7), (0.9, 4), (1.5, 2)])
async def test_a_steadily_slow_redis_is_not_asked(real_redis: Redis, share: float, most: int) -> None:
    """Though each answer would come in time: a few look-ups wait, then nobody does, and probes must be quick too."""
    async with proxy(real_redis.port) as between, opened(f"redis://127.0.0.1:{between.port}/0") as there:
        await there.healed()
        between.delay = share * ANSWER_SECONDS
        assert 0 < await asked(there) <= most
        times, probes = there.metric(OPENED), len(between.received)
        for _ in range(100):
            there.refused_at_once()
        await until(lambda: len(between.received) > probes + 1, "it is probed twice", 30)
        assert await asked(there) == 0
        assert there.metric(OPENED) == times
        between.delay = 0.0
        await there.healed()


async def test_one_slow_answer_is_forgiven(real_redis: Redis) -> None:
    """Of many quick ones a single one that is just in time says nothing."""
    async with proxy(real_redis.port) as between, opened(f"redis://127.0.0.1:{between.port}/0") as there:
        for _ in range(3):
            for n in range(20):
                await there.cache.get(f"pow:{n}:1")
            between.delay = 0.8 * ANSWER_SECONDS
            await there.cache.get("pow:3:1")
            between.delay = 0.0
        assert there.metric(OPENED) == 0


async def test_a_busy_event_loop_makes_no_redis_slow(real_redis: Redis) -> None:
    """With long turns an answer takes several of them, though Redis had it ready at once."""
    turn = 0.11 * ANSWER_SECONDS

    async def busy() -> None:
        while True:
            sleep(turn)  # noqa: ASYNC251  # it is what is tested
            await asyncio.sleep(0)

    async with opened(real_redis.url) as there:
        working = asyncio.create_task(busy())
        began = perf_counter()
        for n in range(12):
            await there.cache.get(f"pow:{n}:1")
        assert perf_counter() - began > 12 * 2 * turn
        working.cancel()
        assert there.metric(OPENED) == 0


@pytest.fixture
def long_value(real_redis: Redis) -> bytes:
    """A value under the key "long", as long as may be stored."""
    value = bytes(1024 * 1024)
    with Client(port=real_redis.port) as client:
        client.set("long", value)
    return value


async def test_what_waits_behind_a_long_answer_is_not_slow(real_redis: Redis, long_value: bytes) -> None:
    """Those milliseconds are the network's: short answers behind it open no circuit."""
    async with proxy(real_redis.port) as between, opened(f"redis://127.0.0.1:{between.port}/0") as there:
        client = there.cache._client
        between.delay = 0.03 * ANSWER_SECONDS
        for _ in range(8):
            before = asyncio.create_task(client.ask(("GET", "short")))
            long = asyncio.create_task(client.ask(("GET", "long")))
            await before
            assert await client.ask(("GET", "short")) == [None]
            assert await long == [long_value]
        assert there.metric(OPENED) == 0


async def test_a_store_that_is_never_answered(own_real_redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten times what a store may take the connections are made anew: the circuit opens, and closes soon."""
    monkeypatch.setattr(redis_client, "_STORE_SECONDS", 0.05)
    async with opened(f"{own_real_redis.url}?max_bytes=0") as there:
        with Client(port=own_real_redis.port) as client:
            client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
            await there.cache.put("fibonacci:1", result())
            await until(lambda: there.metric("pycalc_cache_dropped_total", reason="circuit") == 1, "it is late")
            assert there.metric(OPENED) == 0
            await until(lambda: there.metric(OPENED) == 1, "nobody counts on an answer any more")
            client.execute_command("CLIENT", "UNPAUSE")
            await there.healed()
        await there.cache.put("fibonacci:2", result())
        assert await found(lambda: there.cache.get("fibonacci:2"), "the result") == result()
        assert there.metric(OPENED) == 1


async def test_a_slow_store_is_in_no_look_ups_way(own_real_redis: Redis) -> None:
    """While Redis takes no writes it is asked as ever; results that nobody waits for are dropped, and counted."""
    async with opened(f"{own_real_redis.url}?max_bytes=0") as there:
        with Client(port=own_real_redis.port) as client:
            client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
            await there.cache.put("fibonacci:1", result(digits(100_000)))
            await until(lambda: there.metric("pycalc_cache_dropped_total", reason="circuit") == 1, "it is late")
            await there.cache.put("fibonacci:2", result(b"2"))
            await until(lambda: there.metric("pycalc_cache_dropped_total", reason="circuit") == 2, "it is dropped")
            for n in range(100):
                assert await there.cache.get(f"pow:{n}:1") is None
            assert there.metric(OPENED) == 0
            client.execute_command("CLIENT", "UNPAUSE")

        async def stored() -> Result | None:
            await there.cache.put("fibonacci:3", result(b"3"))
            return await there.cache.get("fibonacci:3")

        await found(stored, "results are stored again")
        assert there.metric(OPENED) == 0
