"""A cache in Redis that several processes share, behind an in-memory cache in each process (ADR 20)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from math import inf
from urllib.parse import urlencode

from redis.exceptions import OutOfMemoryError

from pycalc.cache.base import Bound, CounterStore
from pycalc.cache.memory import DEFAULT_MAX_BYTES, MemoryCache
from pycalc.cache.redis.client import DEFAULT_TIMES, RedisClient, Times, value
from pycalc.cache.redis.counters import RedisCounters
from pycalc.cache.redis.notifications import RedisRevocationNotifications
from pycalc.cache.redis.results import RedisResults
from pycalc.files import require_authorities
from pycalc.models.results import Result
from pycalc.observability.metrics import CacheMetrics
from pycalc.urls import flag_option, require_server, split_url, url_options, whole_option

_OPTIONS = {"max_bytes", "max_value", "namespace", "ssl_ca_certs", "ssl_check_hostname", "ttl"}
_WORTH_SECONDS = 0.0001  # cheaper results are neither looked up in Redis nor stored there: computing them is faster
_PROBE_SECONDS = 1


class RedisCache:
    """A cache in Redis, with a local tier before it: a cache in the memory of each process."""

    def __init__(self, url: str, metrics: CacheMetrics, version: str, times: Times) -> None:
        """Prepare the cache for ``redis://[user:password@]host:port/db?options``.

        Raises ValueError for an invalid URL, for options that the driver would misread, and for an unusable CA file.
        """
        options = {"namespace": "pycalc"} | url_options(url, _OPTIONS)
        parts = split_url(url)
        require_server(parts.netloc.rpartition("@")[2])
        if not re.fullmatch(r"(/\d*)?", parts.path):
            raise ValueError("the path must be the number of a database, such as /0")
        tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
        if tls and parts.scheme != "rediss":
            raise ValueError(f"{', '.join(tls)} is for rediss:// only")
        flag_option(tls, "ssl_check_hostname")
        if "ssl_ca_certs" in tls:
            require_authorities("ssl_ca_certs", tls["ssl_ca_certs"])
        server = parts._replace(query=urlencode(tls), fragment="").geturl()  # with the driver's options only
        self._namespace = options["namespace"]
        self._local = MemoryCache(whole_option(options, "max_bytes", DEFAULT_MAX_BYTES, 0), metrics)
        self._client = RedisClient(server, metrics, times)
        self.leases = RedisResults(self._client, self._local, options, version, metrics)
        self.revocations = RedisRevocationNotifications(self._client, f"{self._namespace}:revocations")

    @classmethod
    async def of_url(
        cls, url: str, metrics: CacheMetrics, version: Callable[[], str], times: Times = DEFAULT_TIMES
    ) -> RedisCache:
        """Open the cache at a URL; raises the errors of the constructor.

        This waits for one attempt to connect, at most the sum of ``times.connect`` and ``times.answer``. If it fails,
        nothing is raised, and the circuit breaker tries again in the background.
        """
        cache = cls(url, metrics, version(), times)
        await cache._client.breaker.begin()
        return cache

    def counters(self, name: str) -> CounterStore:
        return RedisCounters(self._client, f"{self._namespace}:limit:{name}:")

    async def get(self, key: str, cost: float = inf) -> Result | None:
        result = await self._local.get(key)
        if result is not None or cost < _WORTH_SECONDS:
            return result
        stored = await self._client.execute(value, self._client.redis.get, self.leases.name("result", key))
        return None if stored is None else await self.leases.accept(key, stored)

    async def put(self, key: str, result: Result, cost: float = inf) -> None:
        await self._local.put(key, result)
        if cost >= _WORTH_SECONDS:
            self.leases.put(key, result)

    async def ping(self) -> None:
        """Check that Redis reads, stores and runs scripts; raises CacheUnavailable if not.

        A server may answer PING but refuse other commands, because the user lacks rights or the cluster lacks slots. A
        server that is out of memory passes the check, because look-ups still succeed.
        """
        name, redis = self.leases.name("result", "probe"), self._client.redis
        for answer in await asyncio.gather(
            self._client.execute(value, redis.get, name),
            self._client.execute(bool, redis.set, name, b"", ex=_PROBE_SECONDS),
            self.counters("probe").spend(1, [Bound("probe", _PROBE_SECONDS)]),
            return_exceptions=True,
        ):
            if isinstance(answer, BaseException) and not isinstance(answer.__cause__, OutOfMemoryError):
                raise answer

    async def aclose(self) -> None:
        await self.revocations.aclose()
        await self._client.aclose()
        await self._local.aclose()
