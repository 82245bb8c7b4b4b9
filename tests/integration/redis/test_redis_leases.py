"""When a lease in Redis is let go of: not before the result is stored, and not much later where it can't be."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from time import monotonic

import pytest
from redis import Redis as Client

from pycalc.cache import codec
from pycalc.cache.base import Claim
from pycalc.cache.redis import writer as redis_writer
from pycalc.cache.redis.breaker import State
from pycalc.cache.redis.client import Times
from pycalc.errors import AnswerLost
from pycalc.models.results import Result
from tests.harness.caches import Opened, opened
from tests.harness.proxy import proxy
from tests.harness.redis import AnyRedis
from tests.harness.results import digits, result
from tests.harness.waiting import found, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]

KEY = "fibonacci:1"
LONG = Times(answer=5.0, lease=60.0)
"""Leases live for far longer than a test waits for a lease that is let go of."""


@pytest.fixture
async def pair(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Opened, Opened]]:
    """Open two caches on one Redis, with long leases unless a test says otherwise."""
    times = getattr(request, "param", LONG)
    async with opened(redis_url, times=times) as here, opened(redis_url, times=times) as there:
        yield here, there


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let no long result be compressed until this is set."""
    going_on = threading.Event()

    def encoded(name: bytes, kept: Result) -> bytes:
        if len(kept.text) > redis_writer.INLINE_BYTES:
            going_on.wait(30)
        return codec.encode(name, kept)

    monkeypatch.setattr(redis_writer, "encode", encoded)
    yield going_on
    going_on.set()


async def leading(here: Opened) -> Claim:
    """Return a claim that holds the lease."""
    claim = here.cache.leases.claim(KEY)
    assert await claim.take() is True
    return claim


async def taken(claim: Claim) -> Result | bool | None:
    """Return what a claim gets; None when it gets nothing."""
    return await claim.take() or None


async def test_a_result_that_can_t_be_stored_holds_nobody(
    pair: tuple[Opened, Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While stores are late results are dropped; the lease is let go of, because questions are answered."""

    async def late(*_: object) -> None:
        raise AnswerLost("It is late.")

    here, there = pair
    claim = await leading(here)
    monkeypatch.setattr(here.cache._client, "store", late)
    await here.cache.put(KEY, result())
    claim.release()
    assert await found(lambda: taken(there.cache.leases.claim(KEY)), "it is let go of") is True
    assert here.metric("pycalc_cache_dropped_total", reason="circuit") == 1


async def test_what_comes_afterwards_holds_nobody(pair: tuple[Opened, Opened]) -> None:
    """However much is to be stored: a result that is dropped for it is counted, and its lease is let go of."""
    here, there = pair
    claim = await leading(here)
    await here.cache.put(KEY, result())
    claim.release()
    for n in range(600):
        await here.cache.put(f"pow:{n}:1", result())
    assert await found(lambda: taken(there.cache.leases.claim(KEY)), "it is let go of") is True
    assert here.metric("pycalc_cache_dropped_total", reason="queue") == 601 - 512


async def test_what_comes_before_holds_nobody(pair: tuple[Opened, Opened], encoding: threading.Event) -> None:
    """Who has no result to hand on, for making it failed, lets go at once, whatever is still to be stored."""
    here, there = pair
    await here.cache.put("pow:1:1", result(digits(100_000)))
    claim = await leading(here)
    claim.release()
    assert await found(lambda: taken(there.cache.leases.claim(KEY)), "it is let go of") is True


@pytest.mark.parametrize("pair", [Times(answer=5.0, lease=1.0, renewal=0.05)], indirect=True)
async def test_a_lease_is_kept_until_the_result_is_stored(
    pair: tuple[Opened, Opened], encoding: threading.Event
) -> None:
    """Also when that takes longer than a lease lives: nobody else makes the result meanwhile, everybody finds it."""
    here, there = pair
    claim, waiting = await leading(here), there.cache.leases.claim(KEY)
    kept = result(digits(100_000))
    await here.cache.put(KEY, kept)
    claim.release()
    released = monotonic()

    async def outlived() -> bool | None:
        assert await waiting.take() is False
        return monotonic() > released + 1.5 or None

    await found(outlived, "a lease that nobody renews would have ended")
    encoding.set()
    assert await found(lambda: taken(waiting), "the result") == kept


async def test_a_full_queue_lets_go_of_no_lease_whose_result_is_under_way(
    pair: tuple[Opened, Opened], encoding: threading.Event
) -> None:
    """While a result is compressed more is put than may wait: that is dropped, and nobody else makes this result."""
    here, there = pair
    claim, waiting = await leading(here), there.cache.leases.claim(KEY)
    kept = result(digits(100_000))
    await here.cache.put(KEY, kept)
    claim.release()
    await until(lambda: here.cache._writer._bytes_under_way > 0, "it is under way")
    for n in range(600):
        await here.cache.put(f"pow:{n}:1", result())
    await here.cache.ping()  # what was sent before is done
    assert await waiting.take() is False
    encoding.set()
    assert await found(lambda: taken(waiting), "the result") == kept


@pytest.mark.parametrize("pair", [Times(answer=5.0, lease=1.0, renewal=0.1)], indirect=True)
async def test_a_lease_that_can_t_be_let_go_of_ends_by_itself(pair: tuple[Opened, Opened]) -> None:
    """Nobody renews it any more, so that others wait for what is left of it."""
    here, there = pair
    claim = await leading(here)
    here.cache._client.breaker.state = State.OPEN
    claim.release()
    here.cache._client.breaker.state = State.CLOSED
    assert await there.cache.leases.claim(KEY).take() is False
    assert await found(lambda: taken(there.cache.leases.claim(KEY)), "it has ended") is True


async def test_a_damaged_value_is_not_sent_back(redis_server: AnyRedis, redis_url: str) -> None:
    """However long it is: its digest says which one is to go."""
    async with (
        proxy(redis_server.port) as between,
        opened(redis_url.replace(str(redis_server.port), str(between.port))) as here,
    ):
        claim, names = here.cache.leases.claim(KEY), here.cache._names
        with Client(port=redis_server.port) as client:
            client.set(names.result(names.label(KEY)), b"5" * 900_000)
        assert await claim.take() is False
        assert await claim.take() is True
        assert sum(map(len, between.received)) < 5_000
