"""Results in Redis, stored in the background, and leases that let one process compute a result for all."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from math import inf
from secrets import token_bytes
from time import monotonic
from typing import Any

from redis.asyncio.lock import Lock
from redis.exceptions import ResponseError
from structlog import get_logger

from pycalc.cache.base import Claim
from pycalc.cache.breaker import CircuitState
from pycalc.cache.codec import DIGITS_RATIO, FORMAT, TooLong, decode, encode, off_loop
from pycalc.cache.memory import MemoryCache
from pycalc.cache.redis.client import RedisClient
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import CacheMetrics
from pycalc.urls import whole_option

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


class RedisResults:
    """Results in Redis, which are stored in the background, and the leases on them."""

    def __init__(
        self, client: RedisClient, local: MemoryCache, options: dict[str, str], version: str, metrics: CacheMetrics
    ) -> None:
        """Read the ``options`` of the URL; raises ValueError for an invalid one.

        The keys in Redis contain ``version``, the version of the arithmetic.
        """
        self._max_value = whole_option(options, "max_value", _MAX_VALUE, 1)  # the most bytes of a stored result
        self._ttl_ms = whole_option(options, "ttl", _TTL_SECONDS, 1) * 1000
        self._longest = int(self._max_value / DIGITS_RATIO)
        self._namespace = options["namespace"]
        self._version = f"{version}.{FORMAT}"
        self._local = local
        self.client = client
        self.stores: dict[str, asyncio.Task[None]] = {}  # the newest task of each key
        self.lease_ms = int(client.times.lease * 1000)
        self.take = client.redis.register_script(_TAKE_SCRIPT)
        self.renew = client.redis.register_script(Lock.LUA_REACQUIRE_SCRIPT)
        self.release = client.redis.register_script(Lock.LUA_RELEASE_SCRIPT)
        self._metrics = metrics
        self._dropped = metrics.cache_dropped
        self._waiting = self._bytes = 0
        self._late_at = -inf
        self._slots = asyncio.Semaphore(_STORES)

    def is_storable(self, digits: int) -> bool:
        return digits * DIGITS_RATIO <= self._max_value and digits <= _BYTES

    def claim(self, key: str) -> Claim:
        return RedisClaim(self, key)

    def put(self, key: str, result: Result) -> None:
        """Store a result in the background, or drop it; a metric counts the dropped results by reason."""
        size = len(result.text)
        if not self.is_storable(size):
            self._dropped.labels("size").inc()
        elif self.client.breaker.state is not CircuitState.CLOSED:
            self._dropped.labels("circuit").inc()
        elif self._waiting >= _WAITING or self._bytes + size > _BYTES:
            self._dropped.labels("queue").inc()
        else:
            self._waiting += 1
            self._bytes += size
            self.stores[key] = self.client.start(self._store(key, result, monotonic()))

    def name(self, kind: str, key: str) -> bytes:
        """Return the key in Redis of a result (``kind`` is "result") or of the lease on it ("lease")."""
        return f"{self._namespace}:{kind}:{self._version}:{sha256(key.encode()).hexdigest()[:40]}".encode()

    async def accept(self, key: str, stored: bytes) -> Result | None:
        """Decode a stored value, store its result in the local tier and return it. Return None for a damaged value.

        Raises CacheUnavailable for a result that is longer than this process accepts.
        """
        try:
            result = await off_loop(len(stored), decode, self.name("result", key), stored, self._longest)
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
                    self._dropped.labels("size").inc()
                else:  # a late reply does not count for the breaker, because look-ups may still be fast
                    async with self.client.bounded(self.client.times.store):
                        await self.client.redis.set(name, value, px=self._ttl_ms)
        except CacheUnavailable as error:
            if isinstance(error, AnswerLost):
                self._late_at = monotonic()
            self._dropped.labels("refused" if isinstance(error.__cause__, ResponseError) else "circuit").inc()
        except Exception:  # after any error, other results are still stored
            self._dropped.labels("failed").inc()
            _log.exception("a result could not be stored")
        finally:
            self._waiting -= 1
            self._bytes -= len(result.text)
            if self.stores.get(key) is asyncio.current_task():  # else another result was put under the key
                del self.stores[key]


class RedisClaim:
    """A request for a lease, which is a key in Redis. The key's value is the random token of this request."""

    def __init__(self, results: RedisResults, key: str) -> None:
        self._results = results
        self._client = results.client
        self._key = key
        self._lease = results.name("lease", key)
        self._token = token_bytes(12)
        self._may_hold = False
        self._renewal: asyncio.TimerHandle | None = None

    async def take(self) -> Result | bool:
        def value_or_lease(answer: Any) -> bytes | bool:
            if not isinstance(answer, bytes) and answer not in (0, 1):
                raise TypeError("neither a value nor a lease")
            return answer if isinstance(answer, bytes) else bool(answer)

        self._may_hold = True  # remains true if the answer is lost
        names, arguments = [self._results.name("result", self._key), self._lease], [self._token, self._results.lease_ms]
        answer = await self._client.execute(value_or_lease, self._results.take, names, arguments)
        self._may_hold = answer is True or self._renewal is not None
        if isinstance(answer, bytes):
            result = await self._results.accept(self._key, answer)
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
        store = self._results.stores.get(self._key)
        if store is None:
            self._release_now()
        else:
            store.add_done_callback(self._release_now)  # so that the next process finds the result

    def _release_now(self, _: object = None) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._client.post(self._results.release, [self._lease], [self._token])

    def _renew(self) -> None:
        self._client.post(self._results.renew, [self._lease], [self._token, self._results.lease_ms])
        self._renewal = asyncio.get_running_loop().call_later(self._client.times.renewal, self._renew)
