"""Results that are stored in Redis after their responses, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic

from redis.exceptions import ResponseError
from structlog import get_logger

from pycalc.cache.breaker import CircuitState
from pycalc.cache.codec import DIGITS_RATIO, encode, off_loop
from pycalc.cache.redis.client import RedisClient
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import CacheMetrics

_AT_ONCE = 4
_RESULTS = 512  # being stored, or waiting for their turn
_BYTES = 32 * 1024 * 1024

_log = get_logger(__name__)


class Writer:
    """The results that are being stored; beyond its bounds further ones are dropped."""

    def __init__(self, client: RedisClient, metrics: CacheMetrics, *, ttl_ms: int, max_value: int) -> None:
        """``max_value`` bounds a result in bytes, as it is stored."""
        self._client = client
        self._ttl_ms = ttl_ms
        self._max_value = max_value
        self._dropped = metrics.cache_dropped
        self._results = self._bytes = 0
        self._late_at = -inf
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._stores: dict[bytes, asyncio.Task[None]] = {}  # the newest under each name

    def fits(self, length: int) -> bool:
        """Return whether a result of ``length`` digits may fit the size limit after compression."""
        return length * DIGITS_RATIO <= self._max_value and length <= _BYTES

    def put(self, name: bytes, result: Result) -> None:
        """Store a result under a name soon."""
        size = len(result.text)
        if not self.fits(size):
            self._dropped.labels("size").inc()
        elif self._client.breaker.state is not CircuitState.CLOSED:
            self._dropped.labels("circuit").inc()
        elif self._results >= _RESULTS or self._bytes + size > _BYTES:
            self._dropped.labels("queue").inc()
        else:
            self._results += 1
            self._bytes += size
            self._stores[name] = self._client.start(self._store(name, result, monotonic()))

    def after(self, name: bytes, step: Callable[[], None]) -> None:
        """Call ``step`` once the newest result put under a name is stored or dropped, at once if there is none."""
        store = self._stores.get(name)
        if store is None:
            step()
        else:
            store.add_done_callback(lambda _: step())

    async def _store(self, name: bytes, result: Result, put_at: float) -> None:
        try:
            async with self._slots:
                if put_at < self._late_at:  # this one would be late too, and other processes wait for its lease
                    raise CacheUnavailable("An earlier result could not be stored in time.")
                value = await off_loop(len(result.text), encode, name, result)
                if len(value) > self._max_value:
                    self._dropped.labels("size").inc()
                else:
                    await self._client.store(name, value, self._ttl_ms)
        except CacheUnavailable as error:
            if isinstance(error, AnswerLost):
                self._late_at = monotonic()
            self._dropped.labels("refused" if isinstance(error.__cause__, ResponseError) else "circuit").inc()
        except Exception:  # whatever the error is: other results are stored all the same
            self._dropped.labels("failed").inc()
            _log.exception("a result could not be stored")
        finally:
            self._results -= 1
            self._bytes -= len(result.text)
            if self._stores[name] is asyncio.current_task():  # else another result was put under the name
                del self._stores[name]
