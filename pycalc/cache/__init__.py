"""Caches of results. ``open_cache`` selects the backend by URL."""

from __future__ import annotations

from collections.abc import Callable

from pycalc.cache.base import Cache
from pycalc.observability.metrics import CacheMetrics
from pycalc.urls import backend_of

_CACHES = {
    "memory": "pycalc.cache.memory:MemoryCache",
    "redis": "pycalc.cache.redis.cache:RedisCache",
    "rediss": "pycalc.cache.redis.cache:RedisCache",
}


async def open_cache(url: str, metrics: CacheMetrics, version: Callable[[], str] = lambda: "0") -> Cache:
    """Open the cache at a URL.

    A Redis server that does not answer delays this call by at most 2 s, and is used once it answers. ``version`` must
    return the version of the arithmetic, because a shared cache must not return results of another version. Raises
    ValueError for an unknown scheme, a malformed URL or an invalid option. A driver is imported only for a URL with its
    scheme.
    """
    with backend_of(url, "cache", _CACHES) as backend:
        cache: Cache = await backend.of_url(url, metrics, version)
    return cache
