"""Stores results in Redis off the answers' path, in their order, within bounds (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import NamedTuple

from structlog import get_logger

from pycalc.cache.redis.client import STORES, RedisClient
from pycalc.cache.redis.codec import DIGITS_RATIO, encode
from pycalc.cache.redis.lane import Command, Reply
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics

INLINE_BYTES = 64 * 1024
"""What is longer is compressed and expanded in a thread: it takes more than a tenth of a millisecond."""
_JOBS = 512
_BYTES = 32 * 1024 * 1024
"""Of texts that are queued or under way."""
_BREATH_SECONDS = 0.001
"""What is queued holds the event loop for no longer, and one short result, before others have a turn."""
_LAST_SECONDS = 0.5
"""How long the end of the service waits for what is queued."""

_log = get_logger(__name__)


class _Store(NamedTuple):
    """A result to store under a name, bound to a label, and who is told when it is stored or dropped."""

    name: bytes
    label: bytes
    result: Result
    ended: asyncio.Future[None]


class _TooLong(Exception):
    """A result is longer than may be stored."""


class Writer:
    """A queue of results to store; over its bounds the oldest one is dropped."""

    def __init__(self, client: RedisClient, metrics: Metrics, *, ttl_ms: int, max_value: int) -> None:
        """``max_value`` bounds a result in bytes, as it is stored."""
        self._client = client
        self._ttl_ms = ttl_ms
        self._max_value = max_value
        self._dropped = metrics.cache_dropped
        self._bytes = self._bytes_under_way = 0
        self._jobs: asyncio.Queue[_Store] = asyncio.Queue(_JOBS)
        self._pending: dict[bytes, asyncio.Future[None]] = {}
        self._places = asyncio.Semaphore(STORES)
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="cache writer")

    def fits(self, length: int) -> bool:
        """Whether so many digits can be short enough when they are compressed."""
        return length * DIGITS_RATIO <= self._max_value and length <= _BYTES

    def put(self, name: bytes, label: bytes, result: Result) -> None:
        """Store a result under a name soon, bound to a label."""
        size = len(result.text)
        if not self.fits(size):
            self._dropped.labels("size").inc()
        elif not self._client.circuit.closed:
            self._dropped.labels("circuit").inc()
        elif self._room_for(size):
            self._bytes += size
            ended = self._pending[name] = asyncio.get_running_loop().create_future()
            ended.add_done_callback(partial(self._forget, name))
            self._jobs.put_nowait(_Store(name, label, result, ended))
        else:
            self._dropped.labels("queue").inc()

    def after(self, name: bytes, step: Callable[[], None]) -> None:
        """Do a step when the result that was put last under a name is stored, or dropped; now if there is none."""
        ended = self._pending.get(name)
        if ended is None:
            step()
        else:
            ended.add_done_callback(lambda _: step())

    async def aclose(self) -> None:
        """Store what is queued if that is quick, and end."""
        if self._client.circuit.closed:
            await asyncio.wait({asyncio.ensure_future(self._jobs.join())}, timeout=_LAST_SECONDS)
        self._runner.cancel()
        await asyncio.wait({self._runner})

    def _room_for(self, size: int) -> bool:
        """Drop the oldest results until there is room for one more; return False when what is under way leaves none."""
        if self._bytes_under_way + size > _BYTES:
            return False
        while self._jobs.full() or self._bytes + size > _BYTES:
            oldest = self._jobs.get_nowait()
            self._jobs.task_done()
            self._bytes -= len(oldest.result.text)
            self._dropped.labels("queue").inc()
            oldest.ended.set_result(None)
        return True

    async def _run(self) -> None:
        breath = perf_counter()
        while True:
            job = await self._jobs.get()
            try:
                await self._send(job)
            except CacheUnavailable:
                self._dropped.labels("circuit").inc()
            except _TooLong:
                self._dropped.labels("size").inc()
            except Exception:  # whatever it is: what comes after this job is stored all the same
                self._dropped.labels("failed").inc()
                _log.exception("a result could not be stored")
            finally:
                self._jobs.task_done()
                del job  # its result may be long
            if perf_counter() - breath > _BREATH_SECONDS:
                await asyncio.sleep(0)
                breath = perf_counter()

    async def _send(self, job: _Store) -> None:
        """Store a result when fewer than the bound are under way, and wait for the answer to a long one."""
        size = len(job.result.text)
        self._bytes_under_way += size
        await self._places.acquire()
        try:
            answered = self._client.store(await self._command(job))
        except BaseException:
            self._let_go(size, job.ended)
            raise
        answered.add_done_callback(partial(self._stored, size, job.ended))
        if size > INLINE_BYTES:  # one at a time: together they would take longer than an answer may
            await asyncio.wait({answered})

    async def _command(self, job: _Store) -> Command:
        if len(job.result.text) > INLINE_BYTES:
            value = await asyncio.to_thread(encode, job.label, job.result)
        else:
            value = encode(job.label, job.result)
        if len(value) > self._max_value:
            raise _TooLong
        return ("SET", job.name, value, "PX", self._ttl_ms)

    def _let_go(self, size: int, ended: asyncio.Future[None]) -> None:
        self._places.release()
        self._bytes -= size
        self._bytes_under_way -= size
        ended.set_result(None)

    def _forget(self, name: bytes, ended: asyncio.Future[None]) -> None:
        if self._pending.get(name) is ended:  # else another result was put under the name
            del self._pending[name]

    def _stored(self, size: int, ended: asyncio.Future[None], answered: asyncio.Future[list[Reply]]) -> None:
        """Make room, and count what the server did not take: it is full, or gone."""
        self._let_go(size, ended)
        if not answered.cancelled():
            failed = answered.exception() is not None
            if failed or any(isinstance(reply, Exception) for reply in answered.result()):
                self._dropped.labels("circuit" if failed else "refused").inc()
