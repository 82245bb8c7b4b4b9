"""Stores results in Redis off the answers' path, in their order, within bounds (ADR 20)."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from structlog import get_logger

from pycalc.cache.codec import DIGITS_RATIO, encode
from pycalc.cache.redis_client import RedisClient
from pycalc.cache.redis_lane import Command, Reply
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics

INLINE_BYTES = 64 * 1024
"""What is longer is compressed and expanded in a thread: it takes more than a tenth of a millisecond."""
_JOBS = 512
_BYTES = 32 * 1024 * 1024
_LAST_SECONDS = 0.5
"""How long the end of the service waits for what is queued."""

_log = get_logger(__name__)


class _Store(NamedTuple):
    """A result to store under a name, bound to a label."""

    name: bytes
    label: bytes
    result: Result


class Writer:
    """A queue of results to store, and of commands to send after them; what is over its bounds is dropped."""

    def __init__(self, client: RedisClient, metrics: Metrics, *, ttl_ms: int, max_value: int) -> None:
        """``max_value`` bounds a result in bytes, as it is stored."""
        self._client = client
        self._ttl_ms = ttl_ms
        self._max_value = max_value
        self._dropped = metrics.cache_dropped
        self._bytes = 0
        self._jobs: asyncio.Queue[_Store | Command] = asyncio.Queue(_JOBS)
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="cache writer")

    def fits(self, length: int) -> bool:
        """Whether so many digits can be short enough when they are compressed."""
        return length * DIGITS_RATIO <= self._max_value

    def put(self, name: bytes, label: bytes, result: Result) -> None:
        """Store a result under a name soon, bound to a label."""
        size = len(result.text)
        if not self.fits(size):
            self._dropped.labels("size").inc()
        elif not self._client.circuit.closed:
            self._dropped.labels("circuit").inc()
        elif self._bytes + size > _BYTES or self._jobs.full():
            self._dropped.labels("queue").inc()
        else:
            self._bytes += size
            self._jobs.put_nowait(_Store(name, label, result))

    def then(self, command: Command) -> None:
        """Send a command when everything that was put before is stored; it is dropped where that fails."""
        try:
            self._jobs.put_nowait(command)
        except asyncio.QueueFull:
            self._dropped.labels("queue").inc()

    async def aclose(self) -> None:
        """Store what is queued if that is quick, and end."""
        if self._client.circuit.closed:
            await asyncio.wait({asyncio.ensure_future(self._jobs.join())}, timeout=_LAST_SECONDS)
        self._runner.cancel()
        await asyncio.wait({self._runner})

    async def _run(self) -> None:
        while True:
            job = await self._jobs.get()
            try:
                if isinstance(job, _Store):
                    await self._store(*job)
                else:
                    self._client.store(job).add_done_callback(self._stored)
            except CacheUnavailable:
                self._dropped.labels("circuit").inc()
            except Exception:  # whatever it is: what comes after this job is stored all the same
                self._dropped.labels("failed").inc()
                _log.exception("a result could not be stored")
            finally:
                self._jobs.task_done()

    async def _store(self, name: bytes, label: bytes, result: Result) -> None:
        size = len(result.text)
        long = size > INLINE_BYTES
        try:
            value = await asyncio.to_thread(encode, label, result) if long else encode(label, result)
            if len(value) > self._max_value:
                self._dropped.labels("size").inc()
                return
            answered = self._client.store(("SET", name, value, "PX", self._ttl_ms))
            answered.add_done_callback(self._stored)
            if long:  # one at a time: together they would be more than what the queue may hold
                await asyncio.wait({answered})
        finally:
            self._bytes -= size

    def _stored(self, answered: asyncio.Future[list[Reply]]) -> None:
        """Count what the server did not take: it is full, or gone."""
        if not answered.cancelled():
            failed = answered.exception() is not None
            if failed or any(isinstance(reply, Exception) for reply in answered.result()):
                self._dropped.labels("circuit" if failed else "refused").inc()
