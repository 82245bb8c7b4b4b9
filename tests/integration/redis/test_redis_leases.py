"""Leases in Redis: released once the result is stored, or soon after storing has failed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from time import monotonic

import pytest
from redis import Redis as Client

from pycalc.cache import codec
from pycalc.cache.base import Claim
from pycalc.cache.breaker import CircuitState
from pycalc.cache.redis import cache as redis_cache
from pycalc.cache.redis.client import Times
from pycalc.models.results import Result
from tests.harness.caches import Opened, opened
from tests.harness.proxy import proxy
from tests.harness.redis import AnyRedis
from tests.harness.results import digits, result
from tests.harness.waiting import found

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]

KEY = "fibonacci:1"
# Times with a lease that lasts far longer than a test waits for its release.
LONG = Times(answer=5.0, lease=60.0)


@pytest.fixture
async def pair(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Opened, Opened]]:
    """Open two caches on one Redis, with long leases unless the test sets others."""
    times = getattr(request, "param", LONG)
    async with opened(redis_url, times=times) as here, opened(redis_url, times=times) as there:
        yield here, there


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Block the compression of long results until the yielded event is set."""
    going_on = threading.Event()

    def encoded(name: bytes, kept: Result) -> bytes:
        if len(kept.text) > codec.INLINE_BYTES:
            going_on.wait(30)
        return codec.encode(name, kept)

    monkeypatch.setattr(redis_cache, "encode", encoded)
    yield going_on
    going_on.set()


async def leading(here: Opened) -> Claim:
    """Take the lease on the tests' key, and return the claim that holds it."""
    claim = here.cache.claim(KEY)
    assert await claim.take() is True
    return claim


async def taken(claim: Claim) -> Result | bool | None:
    """Try to take a lease; return the stored result, or True if the claim now holds the lease, or else None."""
    return await claim.take() or None


async def test_a_lease_lasts_as_long_as_it_is_set_to(pair: tuple[Opened, Opened], redis_url: str) -> None:
    """The key of a lease expires after the lease's seconds, here 60."""
    await leading(pair[0])
    with Client.from_url(redis_url.partition("?")[0]) as client:
        assert 30_000 < client.pttl(pair[0].cache.name("lease", KEY)) <= 60_000


async def test_a_failed_store_releases_the_lease(pair: tuple[Opened, Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    """If storing a result takes too long, the result is dropped, but its lease is released."""

    async def late(*_: object, **__: object) -> None:
        raise TimeoutError

    here, there = pair
    claim = await leading(here)
    monkeypatch.setattr(here.cache.client.redis, "set", late)
    await here.cache.put(KEY, result())
    claim.release()
    assert await found(lambda: taken(there.cache.claim(KEY)), "it is released") is True
    assert here.metric("pycalc_cache_dropped_total", reason="circuit") == 1


@pytest.mark.parametrize("pair", [LONG._replace(store=0.5)], indirect=True)
async def test_after_a_late_store_no_lease_waits_for_the_results_before_it(
    pair: tuple[Opened, Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If storing a result is late, the results that wait meanwhile are dropped, and their leases are released."""

    async def hang(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    here, there = pair
    claim = await leading(here)
    monkeypatch.setattr(here.cache.client.redis, "set", hang)
    for n in range(400):
        await here.cache.put(f"pow:{n}:1", result())
    await here.cache.put(KEY, result())
    claim.release()
    # One after the other, they would take 50 s.
    assert await found(lambda: taken(there.cache.claim(KEY)), "it is released") is True
    assert here.metric("pycalc_cache_dropped_total", reason="circuit") == 401


async def test_a_result_dropped_by_a_full_queue_releases_the_lease(pair: tuple[Opened, Opened]) -> None:
    """If a result is dropped because the queue is full, it is counted, and its lease is released."""
    here, there = pair
    claim = await leading(here)
    for n in range(600):
        await here.cache.put(f"pow:{n}:1", result())
    await here.cache.put(KEY, result())
    claim.release()
    assert await found(lambda: taken(there.cache.claim(KEY)), "it is released") is True
    assert here.metric("pycalc_cache_dropped_total", reason="queue") == 601 - 512


async def test_a_failed_computation_releases_the_lease_at_once(
    pair: tuple[Opened, Opened], encoding: threading.Event
) -> None:
    """If the computation fails, the lease is released at once, even while another result waits to be stored."""
    here, there = pair
    await here.cache.put("pow:1:1", result(digits(100_000)))
    claim = await leading(here)
    claim.release()
    assert await found(lambda: taken(there.cache.claim(KEY)), "it is released") is True


@pytest.mark.parametrize("pair", [Times(answer=5.0, lease=1.0, renewal=0.05)], indirect=True)
async def test_a_lease_is_kept_until_the_result_is_stored(
    pair: tuple[Opened, Opened], encoding: threading.Event
) -> None:
    """A lease is renewed until the result is stored, so that no other instance computes the result."""
    here, there = pair
    claim, waiting = await leading(here), there.cache.claim(KEY)
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


async def test_a_full_queue_keeps_the_lease_of_a_result_under_way(
    pair: tuple[Opened, Opened], encoding: threading.Event
) -> None:
    """While a full queue drops new results, a result that is being compressed keeps its lease and is stored."""
    here, there = pair
    claim, waiting = await leading(here), there.cache.claim(KEY)
    kept = result(digits(100_000))
    await here.cache.put(KEY, kept)
    claim.release()
    for n in range(600):
        await here.cache.put(f"pow:{n}:1", result())
    await here.cache.ping()  # by now, earlier commands are done
    assert await waiting.take() is False
    encoding.set()
    assert await found(lambda: taken(waiting), "the result") == kept


@pytest.mark.parametrize("pair", [Times(answer=5.0, lease=1.0, renewal=0.1)], indirect=True)
async def test_a_lease_that_can_t_be_released_expires(pair: tuple[Opened, Opened]) -> None:
    """A lease whose release failed is not renewed, so that it expires by itself."""
    here, there = pair
    claim = await leading(here)
    here.cache.client.breaker.state = CircuitState.OPEN
    claim.release()
    here.cache.client.breaker.state = CircuitState.CLOSED
    assert await there.cache.claim(KEY).take() is False
    assert await found(lambda: taken(there.cache.claim(KEY)), "it has ended") is True


async def test_releasing_a_claim_that_never_asked_sends_nothing(
    pair: tuple[Opened, Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a claim has never tried to take its lease, ``release`` sends nothing to Redis."""
    here, _ = pair
    sent: list[object] = []
    monkeypatch.setattr(here.cache.client, "post", lambda *command: sent.append(command))
    here.cache.claim(KEY).release()
    assert sent == []


async def test_a_damaged_value_is_not_sent_back(redis_server: AnyRedis, redis_url: str) -> None:
    """A damaged value is deleted by its key, without sending the value to Redis again."""
    async with (
        proxy(redis_server.port) as between,
        opened(redis_url.replace(str(redis_server.port), str(between.port))) as here,
    ):
        claim = here.cache.claim(KEY)
        with Client(port=redis_server.port) as client:
            client.set(here.cache.name("result", KEY), b"5" * 900_000)
        assert await claim.take() is False
        assert await claim.take() is True
        assert sum(map(len, between.received)) < 5_000
