"""Results in Redis, stored in the background, and leases that let one process compute a result for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from secrets import token_bytes
from time import monotonic
from typing import Any

from redis.asyncio.lock import Lock
from redis.exceptions import ResponseError
from structlog import get_logger

from pycalc.cache.base import Claim
from pycalc.cache.breaker import CircuitState
from pycalc.cache.codec import DIGITS_RATIO, encode, off_loop
from pycalc.cache.redis.client import RedisClient
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import CacheMetrics

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

# Given a result's key and its stored value, returns the result, or None if damaged; raises CacheUnavailable.
Accept = Callable[[str, bytes], Awaitable[Result | None]]
# Given "result" or "lease" and a result's key, returns the key in Redis of the result or of the lease on it.
Name = Callable[[str, str], bytes]

_log = get_logger(__name__)


class RedisResults:
    """Results in Redis, which are stored in the background, and the leases on them.

    A lease is released only after its result is stored or dropped, so that the next process finds a stored result.
    """

    def __init__(
        self, client: RedisClient, name: Name, accept: Accept, metrics: CacheMetrics, *, ttl_ms: int, max_value: int
    ) -> None:
        """Prepare the scripts. Encoded results of up to ``max_value`` bytes are stored, for ``ttl_ms`` milliseconds."""
        self.client = client
        self.name = name
        self.accept = accept
        self.lease_ms = int(client.times.lease * 1000)
        self.take = client.redis.register_script(_TAKE_SCRIPT)
        self.renew = client.redis.register_script(Lock.LUA_REACQUIRE_SCRIPT)
        self.release = client.redis.register_script(Lock.LUA_RELEASE_SCRIPT)
        self._ttl_ms = ttl_ms
        self._max_value = max_value
        self._dropped = metrics.cache_dropped
        self._waiting = self._bytes = 0
        self._late_at = -inf
        self._slots = asyncio.Semaphore(_STORES)
        self._stores: dict[str, asyncio.Task[None]] = {}  # the newest task of each key

    def is_storable(self, digits: int) -> bool:
        return digits * DIGITS_RATIO <= self._max_value and digits <= _BYTES

    def claim(self, key: str) -> Claim:
        return RedisClaim(self, key)

    def put(self, key: str, result: Result) -> None:
        """Store a result in the background, or drop it and count the reason."""
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
            self._stores[key] = self.client.start(self._store(key, result, monotonic()))

    def after(self, key: str, step: Callable[[], None]) -> None:
        """Call ``step`` once the newest result put under a key is stored or dropped, or now if no result is pending."""
        store = self._stores.get(key)
        if store is None:
            step()
        else:
            store.add_done_callback(lambda _: step())

    async def _store(self, key: str, result: Result, put_at: float) -> None:
        try:
            async with self._slots:
                if put_at < self._late_at:  # storing would be late again, and other processes wait for the lease
                    raise CacheUnavailable("An earlier result could not be stored in time.")
                name = self.name("result", key)
                value = await off_loop(len(result.text), encode, name, result)
                if len(value) > self._max_value:
                    self._dropped.labels("size").inc()
                else:
                    await self.client.store(name, value, self._ttl_ms)
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
            if self._stores.get(key) is asyncio.current_task():  # else another result was put under the key
                del self._stores[key]


def _taken(answer: Any) -> bytes | bool:
    """Return the stored value, or whether the claim holds the lease; raises TypeError for other replies."""
    if answer in (0, 1):
        return bool(answer)
    if not isinstance(answer, bytes):
        raise TypeError("neither a value nor a lease")
    return answer


class RedisClaim:
    """A request for the lease on a result, which lets one process at a time compute the result.

    The lease is a key in Redis, whose value is the random token of this request. The key expires unless it is renewed.
    """

    def __init__(self, results: RedisResults, key: str) -> None:
        self._results = results
        self._client = results.client
        self._key = key
        self._lease = results.name("lease", key)
        self._token = token_bytes(12)
        self._may_hold = False
        self._renewal: asyncio.TimerHandle | None = None

    async def take(self) -> Result | bool:
        self._may_hold = True  # remains true if the answer is lost
        names, arguments = [self._results.name("result", self._key), self._lease], [self._token, self._results.lease_ms]
        answer = await self._client.execute(_taken, self._results.take, names, arguments)
        self._may_hold = answer is True
        if isinstance(answer, bytes):
            result = await self._results.accept(self._key, answer)
            if result is None:  # a damaged value would keep the next caller from the lease
                await self._client.execute(bool, self._client.redis.delete, names[0])
            return result or False
        if answer and self._renewal is None:
            self._renew_later()
        return answer

    def release(self) -> None:
        if self._may_hold:
            self._may_hold = False
            self._results.after(self._key, self._release_now)

    def _release_now(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._client.post(self._results.release, [self._lease], [self._token])

    def _renew_later(self) -> None:
        def renew() -> None:
            self._client.post(self._results.renew, [self._lease], [self._token, self._results.lease_ms])
            self._renew_later()

        self._renewal = asyncio.get_running_loop().call_later(self._client.times.renewal, renew)
