"""A cache in Redis that several processes share, behind an in-memory cache in each process (ADR 20)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from hashlib import sha256
from math import inf
from secrets import token_bytes
from time import monotonic
from typing import Any
from urllib.parse import urlencode

from redis.asyncio.lock import Lock
from redis.exceptions import OutOfMemoryError, ResponseError
from structlog import get_logger

from pycalc.cache.base import Bound, CounterStore
from pycalc.cache.breaker import CircuitState
from pycalc.cache.codec import DIGITS_RATIO, FORMAT, TooLong, decode, encode, off_loop
from pycalc.cache.memory import DEFAULT_MAX_BYTES, MemoryCache
from pycalc.cache.redis.client import DEFAULT_TIMES, RedisClient, Times, value
from pycalc.cache.redis.counters import RedisCounters
from pycalc.cache.redis.notifications import RedisRevocationNotifications
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.files import require_authorities
from pycalc.models.results import Result
from pycalc.observability.metrics import CacheMetrics
from pycalc.urls import flag_option, require_server, split_url, url_options, whole_option

_OPTIONS = {"max_bytes", "max_value", "namespace", "ssl_ca_certs", "ssl_check_hostname", "ttl"}
_WORTH_SECONDS = 0.0001  # cheaper results are neither looked up in Redis nor stored there: computing them is faster
_PROBE_SECONDS = 1
_MAX_VALUE = 1024 * 1024
_TTL_SECONDS = 24 * 3600
_STORES = 4  # the most results that are stored at the same time
_WAITING = 512  # the most results that are being stored or wait to be stored
_BYTES = 32 * 1024 * 1024  # the most bytes of the texts of these results
# KEYS: result, lease. ARGV: token, milliseconds. Returns the stored result; without one, takes or renews the lease
# unless another token holds it, and returns 1 if this token holds it, else 0.
_TAKE_SCRIPT = """
local stored = redis.call('GET', KEYS[1])
if stored then return stored end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""

_log = get_logger(__name__)


class RedisCache:
    """A cache in Redis, with a local tier before it. Results are stored in Redis in the background."""

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
        self._max_value = whole_option(options, "max_value", _MAX_VALUE, 1)  # the most bytes of a stored result
        self._ttl_ms = whole_option(options, "ttl", _TTL_SECONDS, 1) * 1000
        self._local = MemoryCache(whole_option(options, "max_bytes", DEFAULT_MAX_BYTES, 0), metrics)
        self._namespace = options["namespace"]
        self._version = f"{version}.{FORMAT}"
        self._metrics = metrics
        self._waiting = self._bytes = 0
        self._late_at = -inf
        self._slots = asyncio.Semaphore(_STORES)
        self.client = RedisClient(server, metrics, times)
        self.revocations = RedisRevocationNotifications(self.client, f"{self._namespace}:revocations")
        self.stores: dict[str, asyncio.Task[None]] = {}  # the newest task that stores a result, by the result's key
        self.take_script = self.client.redis.register_script(_TAKE_SCRIPT)
        self.renew_script = self.client.redis.register_script(Lock.LUA_REACQUIRE_SCRIPT)
        self.release_script = self.client.redis.register_script(Lock.LUA_RELEASE_SCRIPT)

    @classmethod
    async def of_url(
        cls, url: str, metrics: CacheMetrics, version: Callable[[], str], times: Times = DEFAULT_TIMES
    ) -> RedisCache:
        """Open the cache at a URL; raises the errors of the constructor.

        This waits for one attempt to connect. If it fails, the circuit breaker tries again in the background.
        """
        cache = cls(url, metrics, version(), times)
        await cache.client.breaker.begin()
        return cache

    def counters(self, name: str) -> CounterStore:
        return RedisCounters(self.client, f"{self._namespace}:limit:{name}:")

    def is_storable(self, digits: int) -> bool:
        return digits * DIGITS_RATIO <= self._max_value and digits <= _BYTES

    def claim(self, key: str) -> RedisClaim:
        return RedisClaim(self, key)

    async def get(self, key: str, cost: float = inf) -> Result | None:
        result = await self._local.get(key)
        if result is not None or cost < _WORTH_SECONDS:
            return result
        stored = await self.client.execute(value, self.client.redis.get, self.name("result", key))
        return None if stored is None else await self.accept(key, stored)

    async def put(self, key: str, result: Result, cost: float = inf) -> None:
        await self._local.put(key, result)
        size = len(result.text)
        if cost < _WORTH_SECONDS:
            return
        if not self.is_storable(size):
            self._drop("size")
        elif self.client.breaker.state is not CircuitState.CLOSED:
            self._drop("circuit")
        elif self._waiting >= _WAITING or self._bytes + size > _BYTES:
            self._drop("queue")
        else:
            self._waiting += 1
            self._bytes += size
            self.stores[key] = self.client.start(self._store(key, result, monotonic()))

    def name(self, kind: str, key: str) -> bytes:
        """Return the key in Redis of a result (``kind`` is "result") or of the lease on it ("lease")."""
        return f"{self._namespace}:{kind}:{self._version}:{sha256(key.encode()).hexdigest()[:40]}".encode()

    async def accept(self, key: str, stored: bytes) -> Result | None:
        """Decode a stored value, store its result in the local tier and return it. Return None for a damaged value."""
        try:
            longest = int(self._max_value / DIGITS_RATIO)
            result = await off_loop(len(stored), decode, self.name("result", key), stored, longest)
        except TooLong as error:
            raise CacheUnavailable("The cached result is longer than max_value lets it be.") from error
        except ValueError as error:
            self._metrics.cache_damaged.inc()
            _log.warning("a cached value is damaged", reason=str(error))
            return None
        self._metrics.cache_shared_hits.inc()
        await self._local.put(key, result)
        return result

    async def _store(self, key: str, result: Result, put_at: float) -> None:
        try:
            async with self._slots:
                if put_at < self._late_at:  # storing would be late again, and other processes wait for the lease
                    raise CacheUnavailable("An earlier result could not be stored in time.")
                name = self.name("result", key)
                value = await off_loop(len(result.text), encode, name, result)
                if len(value) > self._max_value:
                    self._drop("size")
                else:  # a late reply does not count for the breaker, because look-ups may still be fast
                    async with self.client.bounded(self.client.times.store):
                        await self.client.redis.set(name, value, px=self._ttl_ms)
        except CacheUnavailable as error:
            if isinstance(error, AnswerLost):
                self._late_at = monotonic()
            self._drop("refused" if isinstance(error.__cause__, ResponseError) else "circuit")
        except Exception:  # after any error, other results are still stored
            self._drop("failed")
            _log.exception("a result could not be stored")
        finally:
            self._waiting -= 1
            self._bytes -= len(result.text)
            if self.stores.get(key) is asyncio.current_task():  # else another result was put under the key
                del self.stores[key]

    def _drop(self, reason: str) -> None:
        self._metrics.cache_dropped.labels(reason).inc()

    async def ping(self) -> None:
        """Check that Redis reads, stores and runs scripts; it may answer PING, but lack rights or slots for these.

        Raises CacheUnavailable if not. A server that is out of memory passes, because look-ups still succeed.
        """
        name, redis = self.name("result", "probe"), self.client.redis
        for answer in await asyncio.gather(
            self.client.execute(value, redis.get, name),
            self.client.execute(bool, redis.set, name, b"", ex=_PROBE_SECONDS),
            self.counters("probe").spend(1, [Bound("probe", _PROBE_SECONDS)]),
            return_exceptions=True,
        ):
            if isinstance(answer, BaseException) and not isinstance(answer.__cause__, OutOfMemoryError):
                raise answer

    async def aclose(self) -> None:
        await self.revocations.aclose()
        await self.client.aclose()
        await self._local.aclose()


class RedisClaim:
    """A request for a lease, which is a key in Redis. The key's value is the random token of this request."""

    def __init__(self, cache: RedisCache, key: str) -> None:
        self._cache = cache
        self._client = cache.client
        self._key = key
        self._lease = cache.name("lease", key)
        self._token = token_bytes(12)
        self._lease_ms = int(cache.client.times.lease * 1000)
        self._may_hold = False
        self._renewal: asyncio.TimerHandle | None = None

    async def take(self) -> Result | bool:
        def value_or_lease(answer: Any) -> bytes | bool:
            if not isinstance(answer, bytes) and answer not in (0, 1):
                raise TypeError("neither a value nor a lease")
            return answer if isinstance(answer, bytes) else bool(answer)

        self._may_hold = True  # remains true if the answer is lost
        names, arguments = [self._cache.name("result", self._key), self._lease], [self._token, self._lease_ms]
        answer = await self._client.execute(value_or_lease, self._cache.take_script, names, arguments)
        self._may_hold = answer is True or self._renewal is not None
        if isinstance(answer, bytes):
            result = await self._cache.accept(self._key, answer)
            if result is None:  # a damaged value would keep the next caller from the lease
                await self._client.execute(bool, self._client.redis.delete, names[0])
            return result or False
        if answer and self._renewal is None:
            self._renewal = asyncio.get_running_loop().call_later(self._client.times.renewal, self._renew)
        return answer

    def release(self) -> None:
        if not self._may_hold:
            return
        self._may_hold = False
        store = self._cache.stores.get(self._key)
        if store is None:
            self._release_now()
        else:
            store.add_done_callback(self._release_now)  # so that the next process finds the result

    def _release_now(self, _: object = None) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._client.post(self._cache.release_script, [self._lease], [self._token])

    def _renew(self) -> None:
        self._client.post(self._cache.renew_script, [self._lease], [self._token, self._lease_ms])
        self._renewal = asyncio.get_running_loop().call_later(self._client.times.renewal, self._renew)
