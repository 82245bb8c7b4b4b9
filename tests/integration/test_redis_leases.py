"""When a lease in Redis is let go of: not before the result is stored, and not much later where it can't be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from pycalc.cache import codec, redis_leases, redis_writer
from pycalc.cache.base import Claim
from pycalc.models.results import Result
from tests.services.caches import Opened, opened
from tests.services.results import digits, result
from tests.services.waiting import found

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]

KEY = "fibonacci:1"
SOON = 1.5
"""Seconds: half of what a lease lives."""


@pytest.fixture
async def pair(redis_url: str) -> AsyncIterator[tuple[Opened, Opened]]:
    """Open two caches on one Redis."""
    async with opened(redis_url) as here, opened(redis_url) as there:
        yield here, there


async def leading(here: Opened) -> Claim:
    """Return a claim that holds the lease."""
    claim = here.cache.leases.claim(KEY)
    assert await claim.take() is True
    return claim


async def taken(claim: Claim) -> Result | bool | None:
    """Return what a claim gets; None when it gets nothing."""
    return await claim.take() or None


async def test_a_result_that_can_t_be_stored_holds_nobody(pair: tuple[Opened, Opened]) -> None:
    """While stores are late results are dropped; the lease is let go of on the connection that is well."""
    here, there = pair
    claim = await leading(here)
    here.cache._client._stores._late = True
    await here.cache.put(KEY, result())
    claim.release()
    assert await found(lambda: taken(there.cache.leases.claim(KEY)), "it is let go of", SOON) is True
    assert here.metric("pycalc_cache_dropped_total", reason="circuit") == 1


async def test_what_comes_afterwards_holds_nobody(pair: tuple[Opened, Opened]) -> None:
    """However much is to be stored: what is dropped are results, of which each is counted, and no lease stays."""
    here, there = pair
    claim = await leading(here)
    claim.release()
    for n in range(600):
        await here.cache.put(f"pow:{n}:1", result())
    assert await found(lambda: taken(there.cache.leases.claim(KEY)), "it is let go of", SOON) is True
    assert here.metric("pycalc_cache_dropped_total", reason="queue") == 600 - 512


async def test_a_lease_is_kept_until_the_result_is_stored(
    pair: tuple[Opened, Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when that takes longer than a lease lives: nobody else makes the result meanwhile, everybody finds it."""
    stored = threading.Event()

    def encoded(name: bytes, kept: Result) -> bytes:
        stored.wait()
        return codec.encode(name, kept)

    monkeypatch.setattr(redis_writer, "encode", encoded)
    monkeypatch.setattr(redis_leases, "_LEASE_MS", 300)
    monkeypatch.setattr(redis_leases, "_RENEW_SECONDS", 0.1)
    here, there = pair
    claim, waiting = await leading(here), there.cache.leases.claim(KEY)
    kept = result(digits(100_000))
    await here.cache.put(KEY, kept)
    claim.release()
    released = monotonic()
    try:
        while monotonic() < released + 0.9:
            assert await waiting.take() is False
    finally:
        stored.set()
    assert await found(lambda: taken(waiting), "the result", SOON) == kept


async def test_a_lease_that_can_t_be_let_go_of_ends_by_itself(
    pair: tuple[Opened, Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody renews it any more, so that others wait for what is left of it."""
    monkeypatch.setattr(redis_leases, "_LEASE_MS", 300)
    monkeypatch.setattr(redis_leases, "_RENEW_SECONDS", 0.1)
    here, there = pair
    claim = await leading(here)
    let_go = asyncio.Event()
    here.cache._client._questions._late = True
    claim.release()
    here.cache._leases.writer.then(let_go.set)
    await let_go.wait()
    here.cache._client._questions._late = False
    assert await there.cache.leases.claim(KEY).take() is False
    assert await found(lambda: taken(there.cache.leases.claim(KEY)), "it has ended", SOON) is True
