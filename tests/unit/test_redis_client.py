"""The Redis client without a server: its time limits, a lost lease, and names of keys that several releases share."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from redis.exceptions import ResponseError

from pycalc.cache.base import counter_digest
from pycalc.cache.breaker import CircuitState
from pycalc.cache.redis.cache import RedisCache
from pycalc.cache.redis.client import DEFAULT_TIMES, RedisClient
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.observability.metrics import Metrics
from tests.harness.virtual_time import in_virtual_time, now


@in_virtual_time
async def test_a_redis_that_hangs_delays_a_command_by_50_ms() -> None:
    """A command without an answer ends after 50 ms, because computing the result may be faster than waiting."""
    client = RedisClient("redis://127.0.0.1:1/0", Metrics(), DEFAULT_TIMES)
    client.breaker.state = CircuitState.CLOSED
    began = now()
    with pytest.raises(AnswerLost):
        await client.execute(bool, asyncio.Event().wait)
    assert now() - began == pytest.approx(0.05)
    await client.aclose()


@in_virtual_time
async def test_closing_ends_what_hangs_after_half_a_second() -> None:
    """A command that is still running half a second after closing began is cancelled."""
    client = RedisClient("redis://127.0.0.1:1/0", Metrics(), DEFAULT_TIMES)
    ended: list[float] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(now())

    began = now()
    client.start(hang())
    await client.aclose()
    await asyncio.sleep(0)
    assert ended == pytest.approx([began + 0.5])


@in_virtual_time
async def test_a_long_refusal_is_repeated_in_part() -> None:
    """The message of a refused command repeats at most 200 characters of Redis, because /readyz shows the message."""

    async def refuse() -> None:
        raise ResponseError("x" * 100_000)

    client = RedisClient("redis://127.0.0.1:1/0", Metrics(), DEFAULT_TIMES)
    client.breaker.state = CircuitState.CLOSED
    with pytest.raises(CacheUnavailable) as refusal:
        await client.execute(bool, refuse)
    assert refusal.value.detail == f"Redis refuses a command: {'x' * 200}"
    await client.aclose()


@in_virtual_time
async def test_a_claim_that_has_lost_its_lease_sends_nothing_after_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that takes its lease and finds it taken by another one at the next try renews nothing once released."""
    metrics, answers, sent = Metrics(), iter([1, 0]), list[str]()

    async def take(*_: object) -> int:
        return next(answers)

    async def send(name: str, *_: object) -> int:
        sent.append(name)
        return 0

    cache = RedisCache("redis://127.0.0.1:1/0", metrics, "1", DEFAULT_TIMES)
    cache.client.breaker.state = CircuitState.CLOSED
    for name, script in (("take", take), ("renew", partial(send, "renew")), ("release", partial(send, "release"))):
        monkeypatch.setattr(cache, f"{name}_script", script)
    claim = cache.claim("fibonacci:1")
    assert (await claim.take(), await claim.take()) == (True, False)
    claim.release()
    await asyncio.sleep(10)
    assert sent == ["release"]
    await cache.aclose()


def test_a_counter_s_name_stays() -> None:
    """A counter's key stays a 16-byte BLAKE2b digest (``b2sum -l 128``), because different releases may share it."""
    assert counter_digest("ada").hex() == "c6ef43c47f8c23627ee5b9f8f5cb406c"
