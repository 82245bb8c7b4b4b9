"""A Redis cache that a test opens and closes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from pycalc.cache.redis.cache import RedisCache
from pycalc.cache.redis.client import Times
from pycalc.errors import CacheUnavailable
from pycalc.observability.metrics import Metrics
from tests.harness.waiting import found


class Opened:
    """A Redis cache and its metrics."""

    def __init__(self, cache: RedisCache, metrics: Metrics) -> None:
        self.cache = cache
        self.metrics = metrics

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric's sample; 0 if there is none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def refused(self, key: str = "key") -> None:
        """Look up a key; the cache must raise CacheUnavailable."""
        with pytest.raises(CacheUnavailable):
            await self.cache.get(key)

    def refused_at_once(self, key: str = "key") -> None:
        """Look up a key; the cache must raise CacheUnavailable without waiting."""
        with pytest.raises(CacheUnavailable):
            self.cache.get(key).send(None)

    async def healed(self) -> None:
        """Wait until the cache answers again."""

        async def answers() -> bool | None:
            with suppress(CacheUnavailable):
                await self.cache.ping()
                return True
            return None

        await found(answers, "the cache answers again", 20)


@asynccontextmanager
async def opened(url: str, version: str = "1", times: Times | None = None) -> AsyncIterator[Opened]:
    """Open a cache, with other time limits than in production if ``times`` is given."""
    metrics = Metrics()
    options = {} if times is None else {"times": times}
    cache = await RedisCache.of_url(url, metrics, lambda: version, **options)
    try:
        yield Opened(cache, metrics)
    finally:
        await cache.aclose()
