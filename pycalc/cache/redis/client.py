"""A client of Redis with bounded waits and a circuit breaker around redis-py's connection pool (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from time import monotonic
from typing import Any, NamedTuple

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MasterDownError, MaxConnectionsError, ReadOnlyError, ResponseError

from pycalc.cache.redis.breaker import CircuitBreaker
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.observability.requests import current_context

STORES = 4  # results that are stored at the same time
_CONNECTIONS = 32  # requests to Redis at the same time; others wait for a connection, within their time for a reply
_CONNECTED_BY_PROBE = 4
_QUESTIONS = 2_000
_POSTS = 1_000

Question = Callable[..., Awaitable[Any]]


class Times(NamedTuple):
    """Times in seconds after which Redis is taken to be unwell, and those of leases."""

    answer: float = 0.05
    store: float = 1.0
    connect: float = 1.0
    silence: float = 1.0  # a silent subscription is pinged after this time, and reconnected after the same time again
    lease: float = 3.0  # other processes wait this long for one that is gone
    renewal: float = 1.0


DEFAULT_TIMES = Times()


class RedisClient:
    """A Redis server behind a circuit breaker: no question waits for longer than its time."""

    def __init__(self, url: str, metrics: Metrics, times: Times, **connection_options: Any) -> None:
        """``url`` without options; raises ValueError for a malformed one."""
        self.times = times
        pool: ConnectionPool = ConnectionPool.from_url(
            url,
            **connection_options,
            protocol=2,
            driver_info=None,
            max_connections=_CONNECTIONS + STORES + _CONNECTED_BY_PROBE + 2,  # 2 for the subscriber
            retry=Retry(NoBackoff(), 0),  # the breaker decides when to try again
            socket_timeout=None,
            socket_connect_timeout=times.connect,
        )
        self.redis = Redis.from_pool(pool)
        self.breaker = CircuitBreaker(self._probe, metrics)
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._asked = 0
        self._posts: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question, *arguments: Any, **options: Any) -> Any:
        """Return the reply to a command or script; raises CacheUnavailable, and AnswerLost when the reply is late.

        After a late reply the same HTTP request sends Redis nothing more, so that a hanging Redis delays it only once.
        Only a reply that Redis had at least half of the time for counts against Redis.
        """
        self._require_closed()
        context = current_context()
        if context is not None and context.cache_late:
            raise CacheUnavailable("The cache is not asked: it was late for this request.")
        if self._asked >= _QUESTIONS:
            raise CacheUnavailable("The cache has too many questions to answer.")
        self._asked += 1
        asked = None
        try:
            with self._translated_errors():
                async with asyncio.timeout(self.times.answer), self._slots:
                    asked = monotonic()
                    reply = await question(*arguments, **options)
        except AnswerLost:
            if context is not None:
                context.cache_late = True
            if asked is None:
                raise CacheUnavailable("The cache has too many questions to answer.") from None
            if monotonic() - asked > self.times.answer / 2:
                self.breaker.late(asked)
            raise
        finally:
            self._asked -= 1
        self.breaker.answered()
        return reply

    def post(self, question: Question, *arguments: Any, **options: Any) -> None:
        """Ask without waiting for the answer; a question that Redis does not take is lost."""

        async def posted() -> None:
            with suppress(CacheUnavailable):
                await self.ask(question, *arguments, **options)

        if self.breaker.closed and len(self._posts) < _POSTS:
            task = asyncio.get_running_loop().create_task(posted(), name="cache post", context=Context())
            self._posts.add(task)
            task.add_done_callback(self._posts.discard)

    async def store(self, name: bytes, value: bytes, ttl_ms: int) -> None:
        """Store a value; raises CacheUnavailable. A late reply does not open the breaker: look-ups may be fast."""
        self._require_closed()
        with self._translated_errors():
            async with asyncio.timeout(self.times.store):
                await self.redis.set(name, value, px=ttl_ms)

    def unexpected_reply(self, what: str) -> CacheUnavailable:
        """Open the breaker, and return the error for a reply that Redis would not send."""
        self.breaker.trip(what)
        return CacheUnavailable("The cache answers something else.")

    async def aclose(self) -> None:
        """Give posts a moment to be sent, and close all connections."""
        if self._posts:
            await asyncio.wait(self._posts, timeout=self.times.answer)
        await self.breaker.aclose()
        await self.redis.aclose()

    def _require_closed(self) -> None:
        if not self.breaker.closed:
            raise CacheUnavailable(f"The cache is not asked: its circuit is {self.breaker}.")

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise CacheUnavailable for the driver's errors; open the breaker where a connection is of no use."""
        try:
            yield
        except TimeoutError as error:
            raise AnswerLost("The cache does not answer in time.") from error
        except ResponseError as error:
            if isinstance(error, ReadOnlyError | MasterDownError):  # demoted: another server may stand there by now
                self.breaker.trip(str(error))
            raise CacheUnavailable(f"Redis refuses a command: {error}") from error
        except MaxConnectionsError as error:
            raise CacheUnavailable("The cache has too many questions to answer.") from error
        except Exception as error:  # refused, ended, no certificate, or no Redis at the other end
            self.breaker.trip(str(error) or type(error).__name__)
            raise CacheUnavailable("The cache does not answer.") from error

    async def _probe(self) -> None:
        """Make the first connections anew, and require a quick answer; raises the driver's errors."""
        pool = self.redis.connection_pool
        get_connection: Callable[[], Awaitable[Any]] = pool.get_connection
        await pool.disconnect(inuse_connections=False)
        connections: list[Any] = []
        try:
            async with asyncio.timeout(self.times.connect):
                while len(connections) < _CONNECTED_BY_PROBE:
                    connections.append(await get_connection())
        finally:
            for connection in connections:
                await pool.release(connection)
        async with asyncio.timeout(self.times.answer):
            if await self.redis.ping() is not True:
                raise CacheUnavailable("The cache does not answer a ping.")
