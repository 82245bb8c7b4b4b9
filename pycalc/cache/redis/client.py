"""A client of Redis: redis-py's connection pool with bounded waits and a circuit breaker (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import Context
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError

from pycalc.cache.breaker import CircuitBreaker, CircuitState
from pycalc.errors import AnswerLost, CacheUnavailable
from pycalc.observability.metrics import CacheMetrics
from pycalc.observability.requests import current_context

T = TypeVar("T")

_CONNECTIONS = 32
_COMMANDS = 2_000  # the most pending commands, which wait for a connection or a reply
_TASKS = 1_000  # while so many background tasks run, ``post`` drops its command
_LAST_SECONDS = 0.5
_TOO_MANY = "The cache has too many commands to answer; retry in 1 s."

Command = Callable[..., Awaitable[Any]]


class Times(NamedTuple):
    """Time limits of calls to Redis, and durations of leases, in seconds."""

    answer: float = 0.05
    store: float = 1.0
    connect: float = 1.0
    silence: float = 1.0  # a silent subscription is pinged after this time, and reconnected after the same time again
    lease: float = 3.0  # how long a lease lasts without renewal: after a crash, other processes wait this long
    renewal: float = 1.0


DEFAULT_TIMES = Times()


def value(answer: Any) -> bytes | None:
    """Return the reply to GET; raises TypeError if it is neither bytes nor None."""
    if not isinstance(answer, bytes | None):
        raise TypeError("a value is no string")
    return answer


class RedisClient:
    """A client of the Redis server at a URL, with a circuit breaker and a time limit for each command."""

    def __init__(self, url: str, metrics: CacheMetrics, times: Times) -> None:
        self.times = times
        # A command waits for a free connection for at most half of its time, so that Redis has the other half.
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url,
            protocol=2,
            driver_info=None,
            max_connections=_CONNECTIONS,
            timeout=times.answer / 2,
            retry=Retry(NoBackoff(), 0),  # the breaker decides when to try again
            socket_timeout=None,
            socket_connect_timeout=times.connect,
        )
        self.redis = Redis.from_pool(pool)
        self.breaker = CircuitBreaker(self._probe, metrics)
        self._commands = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def execute(self, read: Callable[[Any], T], command: Command, *arguments: Any, **options: Any) -> T:
        """Send a command and return its reply, as converted by ``read``. An exception of ``read`` opens the breaker.

        Raises AnswerLost if the reply is late, and CacheUnavailable for other failures. Afterwards, the current HTTP
        request sends no more commands, so that a hanging Redis delays it only once. Two failures are exempt: an error
        reply of Redis, and more than 2,000 pending commands.
        """
        context = current_context()
        if context is not None and context.cache_late:
            raise CacheUnavailable("The cache is not used: it was late for this request.")
        if self._commands >= _COMMANDS:
            raise CacheUnavailable(_TOO_MANY)
        began = monotonic()
        self._commands += 1
        try:
            async with self.bounded(self.times.answer):
                answer = read(await command(*arguments, **options))
        except CacheUnavailable as failure:
            if context is not None and not isinstance(failure.__cause__, ResponseError):
                context.cache_late = True
            if isinstance(failure, AnswerLost):
                self.breaker.late(began)
            raise
        finally:
            self._commands -= 1
        self.breaker.answered()
        return answer

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that may outlast the current request, but not ``aclose``."""
        task = asyncio.get_running_loop().create_task(work, name="cache", context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def post(self, command: Command, *arguments: Any) -> None:
        """Execute a command in the background, unless too many tasks are running. Failures are ignored."""

        async def posted() -> None:
            with suppress(CacheUnavailable):
                await self.execute(int, command, *arguments)

        if self.breaker.state is CircuitState.CLOSED and len(self._tasks) < _TASKS:
            self.start(posted())

    @asynccontextmanager
    async def bounded(self, seconds: float) -> AsyncIterator[None]:
        """Return a context that limits a command's time, and opens the breaker if the server can't be used.

        Raises CacheUnavailable for errors and while the breaker is not closed, and AnswerLost for a late reply.
        """
        if self.breaker.state is not CircuitState.CLOSED:
            raise CacheUnavailable("The cache is not used: its circuit is open.")
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise AnswerLost("The cache does not answer in time.") from error
        except ResponseError as error:
            if isinstance(error, ReadOnlyError | MasterDownError):  # a replica: the primary may have moved
                self.breaker.trip(str(error))
            raise CacheUnavailable(f"Redis refuses a command: {str(error)[:200]}") from error
        except Exception as error:  # connection refused or lost, no valid certificate, not a Redis server
            if isinstance(error.__cause__, TimeoutError):  # the pool had no free connection in time
                raise CacheUnavailable(_TOO_MANY) from error
            self.breaker.trip(str(error) or type(error).__name__)
            raise CacheUnavailable("The cache does not answer.") from error

    async def aclose(self) -> None:
        """Wait up to half a second for the tasks, cancel the remaining ones, and close all connections."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_LAST_SECONDS)
            for task in late:
                task.cancel()
        await self.breaker.aclose()
        await self.redis.aclose()

    async def _probe(self) -> None:
        """Replace the idle connections with a few new ones. Raise an exception if Redis does not soon reply to PING."""
        pool = self.redis.connection_pool
        get_connection: Callable[[], Awaitable[Any]] = pool.get_connection
        await pool.disconnect(inuse_connections=False)
        async with asyncio.timeout(self.times.connect), AsyncExitStack() as taken:
            for _ in range(4):
                taken.push_async_callback(pool.release, await get_connection())
        async with asyncio.timeout(self.times.answer):
            if await self.redis.ping() is not True:
                raise CacheUnavailable("The cache does not answer a ping.")
