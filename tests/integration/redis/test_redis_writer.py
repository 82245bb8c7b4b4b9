"""The background writer to Redis: its limits, which results it drops, and how it shares the event loop."""

from __future__ import annotations

import asyncio
import tracemalloc
from time import thread_time

import pytest
from redis import Redis as Client

from pycalc.cache.redis.client import Times
from tests.harness.caches import Opened, opened
from tests.harness.redis import AnyRedis, Redis
from tests.harness.results import digits, result
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
BOUND = 32 * MIB
PATIENT = Times(answer=5.0, store=60.0)


def dropped(there: Opened) -> float:
    """Return how many results were dropped because the queue was full."""
    return there.metric("pycalc_cache_dropped_total", reason="queue")


def stored(server: AnyRedis) -> int:
    """Return the number of keys in a server."""
    with Client(port=server.port) as client:
        return len(client.keys())


async def test_all_of_a_full_backlog_is_stored(own_redis: AnyRedis) -> None:
    """A full queue of 512 results is stored completely."""
    async with opened(own_redis.url, times=PATIENT) as here:
        for n in range(512):
            await here.cache.put(f"pow:{n}:1", result(b"5" * 1_000))
        await until(lambda: stored(own_redis) == 512, "all are stored")
        assert (dropped(here), here.metric("pycalc_cache_dropped_total", reason="circuit")) == (0, 0)


async def test_a_backlog_leaves_the_event_loop_to_others(own_real_redis: Redis) -> None:
    """While 400 results are encoded, which takes over 30 ms, no loop iteration takes 15 ms of processor time."""
    turns: list[float] = []

    async def turning() -> None:
        while True:
            began = thread_time()
            await asyncio.sleep(0)
            turns.append(thread_time() - began)

    kept = result(digits(60_000))
    async with opened(f"{own_real_redis.url}?max_bytes=0", times=PATIENT) as here:
        for n in range(400):
            await here.cache.put(f"pow:{n}:1", kept)
        watching = asyncio.create_task(turning())
        await until(lambda: stored(own_real_redis) == 400, "all are stored")
        watching.cancel()
    assert max(turns) < 0.015
    assert sum(turns) > 0.030


async def test_what_comes_to_a_full_queue_is_dropped(own_redis: AnyRedis) -> None:
    """If 600 results arrive before Redis has stored any, the last 88 are dropped, and the first 512 are stored."""
    async with opened(own_redis.url, times=PATIENT) as here:
        for n in range(600):
            await here.cache.put(f"pow:{n}:1", result(b"5"))
        assert dropped(here) == 600 - 512
        await until(lambda: stored(own_redis) == 512, "what waits is stored")
        async with opened(own_redis.url, times=PATIENT) as there:
            found = [n for n in range(600) if await there.cache.get(f"pow:{n}:1") is not None]
    assert found == list(range(512))


async def test_no_more_than_the_bound_is_held(own_real_redis: Redis) -> None:
    """If Redis accepts none of 300 MiB of results, 32 MiB stay in memory, and the rest is dropped and counted."""
    async with opened(f"{own_real_redis.url}?max_bytes=0", times=PATIENT) as here:
        with Client(port=own_real_redis.port) as client:
            client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
            tracemalloc.start()
            try:
                for n in range(300):
                    await here.cache.put(f"pow:{n}:1", result(bytes([48 + n % 10]) * MIB))
                    await asyncio.sleep(0.001)
                held, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert BOUND - 2 * MIB < held < BOUND + 2 * MIB
            assert most < BOUND + 4 * MIB
            assert dropped(here) == 300 - 32
            client.execute_command("CLIENT", "UNPAUSE")
            await until(lambda: stored(own_real_redis) == 32, "what is left is stored")


async def test_what_has_no_room_drops_nothing_else(own_redis: AnyRedis) -> None:
    """If a long new result does not fit into the queue's 32 MiB, it is dropped, and earlier results are stored."""
    async with opened(f"{own_redis.url}?max_value=16000000", times=PATIENT) as here:
        with Client(port=own_redis.port) as client:
            client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
            await here.cache.put("pow:1:1", result(b"5" * 20 * MIB))
            for n in range(3):
                await here.cache.put(f"pow:{n}:2", result(b"5"))
            await here.cache.put("pow:2:1", result(b"5" * 20 * MIB))
            assert dropped(here) == 1
            client.execute_command("CLIENT", "UNPAUSE")
            await until(lambda: stored(own_redis) == 4, "what is left is stored")


async def test_short_results_are_bounded_too(own_redis: AnyRedis) -> None:
    """Short results also count towards the queue's limits: while Redis accepts none, 512 of 1,000 are kept."""
    async with opened(f"{own_redis.url}?max_bytes=0", times=PATIENT) as here:
        with Client(port=own_redis.port) as client:
            client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
            texts = [digits(64_000, seed) for seed in range(4)]
            for n in range(1_000):
                await here.cache.put(f"pow:{n}:1", result(texts[n % 4]))
                await asyncio.sleep(0)
            assert here.cache._bytes <= BOUND
            assert dropped(here) == 1_000 - 512
            client.execute_command("CLIENT", "UNPAUSE")
            await until(lambda: stored(own_redis) == 512, "what is left is stored")
        writer = here.cache
        await until(lambda: writer._bytes == 0 and not writer.stores, "nothing is held any more")
