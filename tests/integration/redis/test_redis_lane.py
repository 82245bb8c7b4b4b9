"""One connection, many questions: what a busy event loop, a full queue and a caller who leaves do to the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from pycalc.cache.redis import client as redis_client
from pycalc.cache.redis.client import RedisClient
from pycalc.cache.redis.lane import Command, Reply
from pycalc.errors import CacheUnavailable
from pycalc.observability.metrics import Metrics
from tests.harness.proxy import proxy
from tests.harness.redis import AnyRedis
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(redis_server: AnyRedis, patience: None) -> AsyncIterator[RedisClient]:
    """Open a client."""
    opened = RedisClient(redis_server.url, Metrics())
    await opened.circuit.begin()
    yield opened
    await opened.aclose()


async def test_a_busy_event_loop_does_not_make_redis_late(
    redis_server: AnyRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the loop has stood still for longer than an answer may take, the answer that is there counts."""
    monkeypatch.setattr(redis_client, "_ANSWER_SECONDS", 0.1)
    client = RedisClient(redis_server.url, Metrics())
    await client.circuit.begin()
    for _ in range(3):
        await client.ask(("PING",))
        time.sleep(0.2)  # noqa: ASYNC251  # it is what is tested
        asked = asyncio.create_task(client.ask(("PING",)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251  # it is what is tested
        assert await asked == [b"PONG"]
    await client.aclose()


async def test_a_connection_that_ends_during_a_probe_is_not_overlooked(redis_server: AnyRedis) -> None:
    """When the answer to a probe is there, and the other connection ends before that is seen, the circuit stays open.

    The next probe makes both anew.
    """
    client = RedisClient(redis_server.url, Metrics())
    submit = client._questions.submit

    def ending(*commands: Command) -> asyncio.Future[list[Reply]]:
        answered = submit(*commands)
        answered.add_done_callback(lambda _: client._stores._owner.failed("its connection has ended"))
        return answered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client._questions, "submit", ending)
        await client.circuit.begin()
    assert not client.circuit.closed
    await until(lambda: client.circuit.closed, "it is probed again")
    assert await client.ask(("ECHO", "1")) == [b"1"]
    assert await client.store(("ECHO", "2")) == [b"2"]
    await client.aclose()


async def test_each_question_has_its_own_answer(client: RedisClient) -> None:
    """Also when some who asked have left before it came."""
    for _ in range(20):
        asking = [asyncio.create_task(client.ask(("ECHO", str(n)), ("ECHO", n))) for n in range(100)]
        await asyncio.sleep(0)
        for left in asking[::3]:
            left.cancel()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        for n, answer in enumerate(answers):
            if n % 3:
                assert answer == [str(n).encode()] * 2
            else:
                assert isinstance(answer, asyncio.CancelledError)


async def test_a_refused_command_is_its_own_affair(client: RedisClient) -> None:
    """Others of the same moment have their answers, and the circuit stays closed."""
    good, bad, after = await asyncio.gather(
        client.ask(("ECHO", "1")), client.ask(("NONSENSE",)), client.ask(("ECHO", "2")), return_exceptions=True
    )
    assert (good, after) == ([b"1"], [b"2"])
    assert isinstance(bad, CacheUnavailable)
    assert client.circuit.closed


async def test_more_questions_than_the_bound_are_refused(client: RedisClient) -> None:
    """At once, and the others are answered."""
    answers = await asyncio.gather(*(client.ask(("ECHO", str(n))) for n in range(2_100)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, CacheUnavailable)]
    assert len(refused) == 100
    assert {str(refusal) for refusal in refused} == {"The cache has too much to do."}
    assert answers[:2_000] == [[str(n).encode()] for n in range(2_000)]
    assert client.circuit.closed


async def test_what_was_sent_counts_towards_the_bound(own_redis: AnyRedis, patience: None) -> None:
    """Questions that wait for a Redis that hangs leave room for no more than the bound."""
    client = RedisClient(own_redis.url, Metrics())
    await client.circuit.begin()
    own_redis.pause()
    asking = [asyncio.create_task(client.ask(("ECHO", str(n)))) for n in range(1_500)]
    await until(lambda: not client._questions._queued and len(client._questions._sent) == 1_500, "they are sent")
    more = [asyncio.create_task(client.ask(("PING",))) for _ in range(510)]
    await until(lambda: len(client._questions._sent) == 2_000, "what has room is sent")
    own_redis.resume()
    refused = await asyncio.gather(*more, return_exceptions=True)
    assert await asyncio.gather(*asking) == [[str(n).encode()] for n in range(1_500)]
    assert [isinstance(answer, CacheUnavailable) for answer in refused] == [False] * 500 + [True] * 10
    await client.aclose()


async def test_answers_that_are_slow_on_average_open_the_circuit(
    redis_server: AnyRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though each comes in time: after a few of them nobody is asked any more."""
    monkeypatch.setattr(redis_client, "_ANSWER_SECONDS", 0.4)
    metrics = Metrics()
    async with proxy(redis_server.port) as between:
        client = RedisClient(f"redis://127.0.0.1:{between.port}/0", metrics)
        await client.circuit.begin()
        between.delay = 0.2
        asked = 0
        while client.circuit.closed and asked < 20:
            assert await client.ask(("PING",)) == [b"PONG"]
            asked += 1
        assert metrics.registry.get_sample_value("pycalc_cache_circuit_opened_total") == 1
        await client.aclose()
    assert 0 < asked < 10


async def test_a_script_that_redis_has_forgotten_is_sent_again(client: RedisClient) -> None:
    """Its text where it is not known, only its digest afterwards."""
    script = "return {ARGV[1], redis.call('GET', KEYS[1])}"
    for _ in range(2):
        await client.ask(("SCRIPT", "FLUSH"))
        for _ in range(2):
            assert await client.evaluate(script, "no key", 5) == [b"5", None]


async def test_what_is_posted_at_the_bound_is_lost(client: RedisClient) -> None:
    """Nobody hears of that, at once or later; who asked before is answered."""
    asking = [asyncio.create_task(client.ask(("ECHO", str(n)))) for n in range(2_000)]
    await asyncio.sleep(0)
    client.post(("SET", "posted at the bound", "1"))
    assert await asyncio.gather(*asking) == [[str(n).encode()] for n in range(2_000)]
    assert await client.ask(("GET", "posted at the bound")) == [None]
    assert client.circuit.closed
