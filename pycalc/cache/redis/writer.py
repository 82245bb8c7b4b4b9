"""A bounded queue of results that are stored in Redis after their responses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import NamedTuple

from redis.exceptions import ResponseError
from structlog import get_logger

from pycalc.cache.codec import DIGITS_RATIO, encode
from pycalc.cache.redis.client import STORES, RedisClient
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics

INLINE_BYTES = 64 * 1024  # longer values are encoded and decoded in a thread: it takes more than 0.1 ms
_JOBS = 512
_BYTES = 32 * 1024 * 1024
_LAST_SECONDS = 0.5

_log = get_logger(__name__)


class _Job(NamedTuple):
    """A result to store under a name, bound to a label; ``ended`` is set when it is stored or dropped."""

    name: bytes
    label: bytes
    result: Result
    ended: asyncio.Future[None]


class Writer:
    """A queue of results to store; beyond its bounds the oldest ones are dropped."""

    def __init__(self, client: RedisClient, metrics: Metrics, *, ttl_ms: int, max_value: int) -> None:
        """``max_value`` bounds a result in bytes, as it is stored."""
        self._client = client
        self._ttl_ms = ttl_ms
        self._max_value = max_value
        self._dropped = metrics.cache_dropped
        self._bytes = self._bytes_under_way = 0
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue(_JOBS)
        self._pending: dict[bytes, asyncio.Future[None]] = {}
        create_task = asyncio.get_running_loop().create_task
        self._workers = [create_task(self._run(), name="cache writer", context=Context()) for _ in range(STORES)]

    def fits(self, length: int) -> bool:
        """Return whether a result of ``length`` digits may fit the size limit after compression."""
        return length * DIGITS_RATIO <= self._max_value and length <= _BYTES

    def put(self, name: bytes, label: bytes, result: Result) -> None:
        """Store a result under a name soon, bound to a label."""
        size = len(result.text)
        if not self.fits(size):
            self._dropped.labels("size").inc()
        elif not self._client.breaker.closed:
            self._dropped.labels("circuit").inc()
        elif self._bytes_under_way + size > _BYTES:  # dropping what is queued would not make room
            self._dropped.labels("queue").inc()
        else:
            while self._jobs.full() or self._bytes + size > _BYTES:
                self._drop_oldest("queue")
            self._bytes += size
            ended = self._pending[name] = asyncio.get_running_loop().create_future()
            ended.add_done_callback(partial(self._forget, name))
            self._jobs.put_nowait(_Job(name, label, result, ended))

    def after(self, name: bytes, step: Callable[[], None]) -> None:
        """Call ``step`` once the newest result put under a name is stored or dropped; at once if none is pending."""
        ended = self._pending.get(name)
        if ended is None:
            step()
        else:
            ended.add_done_callback(lambda _: step())

    async def aclose(self) -> None:
        """Store what is queued if that is quick, and end."""
        if self._client.breaker.closed:
            await asyncio.wait({asyncio.ensure_future(self._jobs.join())}, timeout=_LAST_SECONDS)
        for worker in self._workers:
            worker.cancel()
        await asyncio.wait(self._workers)

    async def _run(self) -> None:
        while True:
            job = await self._jobs.get()
            size = len(job.result.text)
            self._bytes_under_way += size
            try:
                await self._store(job)
            except AnswerLost:
                self._dropped.labels("circuit").inc()
                while not self._jobs.empty():  # each would be as late, and others wait for their leases
                    self._drop_oldest("circuit")
            except CacheUnavailable as error:
                refused = isinstance(error.__cause__, ResponseError)
                self._dropped.labels("refused" if refused else "circuit").inc()
            except Exception:  # whatever the error is: the next result is stored all the same
                self._dropped.labels("failed").inc()
                _log.exception("a result could not be stored")
            finally:
                self._bytes_under_way -= size
                self._end(job)
                del job  # the result may be long

    async def _store(self, job: _Job) -> None:
        if len(job.result.text) > INLINE_BYTES:
            value = await asyncio.to_thread(encode, job.label, job.result)
        else:
            value = encode(job.label, job.result)
        if len(value) > self._max_value:
            self._dropped.labels("size").inc()
        else:
            await self._client.store(job.name, value, self._ttl_ms)

    def _drop_oldest(self, reason: str) -> None:
        self._dropped.labels(reason).inc()
        self._end(self._jobs.get_nowait())

    def _end(self, job: _Job) -> None:
        self._jobs.task_done()
        self._bytes -= len(job.result.text)
        job.ended.set_result(None)

    def _forget(self, name: bytes, ended: asyncio.Future[None]) -> None:
        if self._pending.get(name) is ended:  # else another result was put under the name
            del self._pending[name]
