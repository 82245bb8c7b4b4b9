"""The in-process cache: bounded in bytes, it evicts the least recently used result."""

from __future__ import annotations

import tracemalloc

import pytest

from pycalc.cache.memory import MemoryCache
from pycalc.models.results import Facts, Result
from pycalc.observability.metrics import Metrics

pytestmark = pytest.mark.anyio


def result(size: int) -> Result:
    """Return a new result with a text of this many bytes."""
    text = bytes(bytearray(b"9") * size)
    facts = Facts(text.decode() if size <= 1_000 else None, str(size), True, "1" * 20, "0" * 20, bytes(bytearray(32)))
    return Result(text, facts, bytes(bytearray(b"h") * 80), bytes(bytearray(b"t") * 40))


async def kept(cache: MemoryCache, count: int) -> list[int]:
    """Return each ``n`` below ``count`` for which ``key{n}`` is in the cache; this makes these keys recently used."""
    return [n for n in range(count) if await cache.get(f"key{n}") is not None]


async def test_the_least_recently_used_goes_first() -> None:
    """A look-up makes a result recently used; the least recently used one is evicted."""
    cache = MemoryCache(50_000, Metrics())
    for n in range(4):
        await cache.put(f"key{n}", result(10_000))
    assert await cache.get("key0") is not None
    await cache.put("key4", result(10_000))
    assert await kept(cache, 5) == [0, 2, 3, 4]


async def test_a_result_that_would_push_out_all_others_is_not_kept() -> None:
    """A result larger than a quarter of the cache is not stored, because it would displace too many others."""
    cache = MemoryCache(50_000, Metrics())
    await cache.put("key0", result(1_000))
    await cache.put("key1", result(13_000))
    assert await kept(cache, 2) == [0]


async def test_replacing_a_result_is_not_counted_twice() -> None:
    """The gauges show the present contents, also after a replacement and after closing."""
    metrics = Metrics()
    cache = MemoryCache(50_000, metrics)
    value = metrics.registry.get_sample_value
    await cache.put("key0", result(10_000))
    size = value("pycalc_cache_bytes")
    await cache.put("key0", result(10_000))
    assert (value("pycalc_cache_entries"), value("pycalc_cache_bytes")) == (1, size)
    await cache.aclose()
    assert (value("pycalc_cache_entries"), value("pycalc_cache_bytes")) == (0, 0)


async def test_a_size_of_zero_turns_the_cache_off() -> None:
    """``max_bytes=0`` turns the cache off."""
    cache = MemoryCache(0, Metrics())
    await cache.put("key0", result(1))
    assert await cache.get("key0") is None


async def test_the_bound_holds_for_the_memory_that_is_really_used() -> None:
    """A cache full of small results, whose objects are larger than their texts, stays within its limit."""
    bound = 4_000_000
    cache = MemoryCache(bound, Metrics())
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(10_000):
            await cache.put(f"fibonacci:{n}", result(20))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert bound / 4 < after - before <= bound
