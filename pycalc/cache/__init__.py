"""Caches of results. ``open_cache`` selects the backend by URL."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from pycalc.cache.base import Cache
from pycalc.observability.metrics import CacheMetrics
from pycalc.urls import scheme_of

_CACHES = {
    "memory": "pycalc.cache.memory:MemoryCache",
    "redis": "pycalc.cache.redis.cache:RedisCache",
    "rediss": "pycalc.cache.redis.cache:RedisCache",
}


class _Backend(Protocol):
    @staticmethod
    async def of_url(url: str, metrics: CacheMetrics, version: Callable[[], str]) -> Cache: ...


async def open_cache(url: str, metrics: CacheMetrics, version: Callable[[], str] = lambda: "0") -> Cache:
    """Open the cache at a URL.

    A server that does not answer delays this call by at most 2 s, and is used as soon as it answers. ``version`` must
    return the version of the arithmetic, because a shared cache must not return results of another version. Raises
    ValueError for an unknown scheme, a malformed URL or an invalid option. A driver is imported only for a URL with its
    scheme.
    """
    scheme = scheme_of(url)
    if scheme not in _CACHES:
        known = ", ".join(_CACHES)
        raise ValueError(f"PYCALC_CACHE_URL: there is no cache for {scheme!r}; known: {known}")
    module, _, name = _CACHES[scheme].partition(":")
    backend: _Backend = getattr(import_module(module), name)
    try:
        return await backend.of_url(url, metrics, version)
    except ValueError as error:
        raise ValueError(f"PYCALC_CACHE_URL: {error}") from None
