"""A cache in Redis, opened by a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import perf_counter

import pytest

from pycalc.cache import open_cache
from pycalc.cache.redis import RedisCache
from pycalc.errors import CacheUnavailable
from pycalc.observability.metrics import Metrics
from tests.services.waiting import found


class Opened:
    """A cache, and its metrics."""

    def __init__(self, cache: RedisCache, metrics: Metrics) -> None:
        self.cache = cache
        self.metrics = metrics

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def refused(self, key: str = "key", match: str | None = None) -> float:
        """Look up a key, which must fail with an error that matches; return the seconds that took."""
        began = perf_counter()
        with pytest.raises(CacheUnavailable, match=match):
            await self.cache.get(key)
        return perf_counter() - began

    async def healed(self) -> None:
        """Wait until the cache answers again."""

        async def answers() -> bool | None:
            with suppress(CacheUnavailable):
                await self.cache.ping()
                return True
            return None

        await found(answers, "the cache answers again", 20)


@asynccontextmanager
async def opened(url: str, version: str = "1") -> AsyncIterator[Opened]:
    """Open a cache."""
    metrics = Metrics()
    cache = await open_cache(url, metrics, lambda: version)
    assert isinstance(cache, RedisCache)
    try:
        yield Opened(cache, metrics)
    finally:
        await cache.aclose()
