"""The Redis client: many concurrent commands on a few connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from pycalc.cache.breaker import CircuitState
from pycalc.cache.redis.client import RedisClient, Times
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.observability.metrics import Metrics
from tests.harness.redis import AnyRedis, Redis
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

PATIENT = Times(answer=5.0)


def text(answer: Any) -> bytes | None:
    """Return the reply to a GET as bytes, or None."""
    return None if answer is None else bytes(answer)


@pytest.fixture
async def client(redis_server: AnyRedis) -> AsyncIterator[RedisClient]:
    """Open a client."""
    opened = RedisClient(redis_server.url, Metrics(), PATIENT)
    await opened.breaker.begin()
    yield opened
    await opened.aclose()


async def test_each_command_has_its_own_answer(client: RedisClient) -> None:
    """Each command gets its own reply, even if other callers were cancelled while waiting for theirs."""
    for _ in range(20):
        sent = [asyncio.create_task(client.execute(bytes, client.redis.echo, str(n))) for n in range(100)]
        await asyncio.sleep(0)
        for left in sent[::3]:
            left.cancel()
        answers = await asyncio.gather(*sent, return_exceptions=True)
        for n, answer in enumerate(answers):
            if n % 3:
                assert answer == str(n).encode()
            else:
                assert isinstance(answer, asyncio.CancelledError)


async def test_a_refused_command_is_its_own_affair(client: RedisClient) -> None:
    """A command that Redis refuses does not affect concurrent ones, and the breaker stays closed."""
    answers: Sequence[object] = await asyncio.gather(
        client.execute(bytes, client.redis.echo, "1"),
        client.execute(bytes, client.redis.execute_command, "NONSENSE"),
        client.execute(bytes, client.redis.echo, "2"),
        return_exceptions=True,
    )
    assert list(answers[::2]) == [b"1", b"2"]
    assert isinstance(answers[1], CacheUnavailable)
    assert client.breaker.state is CircuitState.CLOSED


async def test_more_commands_than_the_bound_are_refused(client: RedisClient) -> None:
    """A command above the limit of waiting commands is refused at once; the others are answered."""
    answers = await asyncio.gather(
        *(client.execute(bytes, client.redis.echo, str(n)) for n in range(2_100)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, CacheUnavailable)]
    assert len(refused) == 100
    assert {str(refusal) for refusal in refused} == {"The cache has too many commands to answer; retry in 1 s."}
    assert answers[:2_000] == [str(n).encode() for n in range(2_000)]
    assert client.breaker.state is CircuitState.CLOSED


async def test_a_burst_opens_no_breaker(redis_server: AnyRedis) -> None:
    """A burst of 512 commands leaves the breaker closed, even if some get no connection in time."""
    metrics = Metrics()
    client = RedisClient(redis_server.url, metrics, Times(answer=0.2))
    await client.breaker.begin()
    for _ in range(3):
        answers = await asyncio.gather(
            *(client.execute(bytes, client.redis.echo, str(n)) for n in range(512)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} <= {bytes, CacheUnavailable, AnswerLost}
    assert metrics.registry.get_sample_value("pycalc_cache_circuit_opened_total") == 0
    await client.aclose()


async def test_one_stall_is_one_late_reply(own_redis: AnyRedis) -> None:
    """If Redis stalls, this counts as one late reply, however many commands wait, so the breaker stays closed."""
    metrics = Metrics()
    client = RedisClient(own_redis.url, metrics, Times(answer=0.3))
    await client.breaker.begin()
    own_redis.pause()
    sent = (client.execute(text, client.redis.get, "key") for _ in range(20))
    answers = await asyncio.gather(*sent, return_exceptions=True)
    own_redis.resume()
    assert AnswerLost in {type(answer) for answer in answers}
    assert metrics.registry.get_sample_value("pycalc_cache_circuit_opened_total") == 0
    await client.aclose()


async def test_what_is_posted_at_the_bound_is_lost(own_redis: AnyRedis) -> None:
    """A background command (``post``) above the limit is dropped silently; earlier ones are executed."""
    client = RedisClient(own_redis.url, Metrics(), PATIENT)
    await client.breaker.begin()
    for _ in range(1_000):
        client.post(client.redis.incrby, "posted", 1)
    client.post(client.redis.set, "posted at the bound", "1")
    await until(lambda: not client._tasks, "all are posted")
    assert await client.execute(text, client.redis.get, "posted") == b"1000"
    assert await client.execute(text, client.redis.get, "posted at the bound") is None
    await client.aclose()


async def test_a_script_that_redis_has_forgotten_is_sent_again(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script is called by its digest, and its text is sent only if Redis does not know it."""
    sent: list[object] = []
    execute: Callable[..., Awaitable[object]] = client.redis.execute_command

    def noting(*command: object, **options: object) -> Awaitable[object]:
        sent.append(command[0])
        return execute(*command, **options)

    script = client.redis.register_script("return {ARGV[1], redis.call('GET', KEYS[1])}")
    monkeypatch.setattr(client.redis, "execute_command", noting)
    for _ in range(2):
        await client.execute(bool, client.redis.script_flush)
        for _ in range(2):
            assert await client.execute(list, script, ["no key"], [5]) == [b"5", None]
    assert sent == ["SCRIPT FLUSH", "EVALSHA", "SCRIPT LOAD", "EVALSHA", "EVALSHA"] * 2


@pytest.mark.programs
@pytest.mark.parametrize(("fail", "heal"), [(Redis.pause, Redis.resume), (Redis.kill, Redis.start)])
async def test_an_outage_costs_a_request_little_and_ends_by_itself(
    own_real_redis: Redis, fail: Callable[[Redis], None], heal: Callable[[Redis], None]
) -> None:
    """During an outage at most three requests wait for Redis; after the outage Redis is used again."""
    client = RedisClient(own_real_redis.url, Metrics(), Times())
    await client.breaker.begin()
    await until(lambda: client.breaker.state is CircuitState.CLOSED, "the first probe has succeeded")
    fail(own_real_redis)
    waits = 0
    while client.breaker.state is CircuitState.CLOSED:
        with pytest.raises(CacheUnavailable):
            await asyncio.create_task(client.execute(text, client.redis.get, "key"))
        waits += 1
    assert waits <= 3
    with pytest.raises(CacheUnavailable):
        client.execute(text, client.redis.get, "key").send(None)
    await asyncio.sleep(1.0)  # by now, probes are rare
    heal(own_real_redis)
    await until(lambda: client.breaker.state is CircuitState.CLOSED, "Redis is used again")
    assert await client.execute(text, client.redis.get, "key") is None
    await client.aclose()
