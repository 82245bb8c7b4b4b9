"""What the cache knows of redis-py: connections, their bounds, and a circuit breaker around them (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import cast

from redis.asyncio.connection import Connection as TcpConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.lock import Lock
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError, ResponseError

from pycalc.cache.redis.circuit import Circuit
from pycalc.cache.redis.lane import Argument, Command, Connection, Lane, Reply
from pycalc.errors import CacheUnavailable
from pycalc.observability.metrics import Metrics

RELEASE_SCRIPT = Lock.LUA_RELEASE_SCRIPT
"""Deletes a key (1) that has a value (1)."""
RENEW_SCRIPT = Lock.LUA_REACQUIRE_SCRIPT
"""Lets a key (1) that has a value (1) live for so many milliseconds (2); says 0 when it has another one."""

_ANSWER_SECONDS = 0.02
"""With what the event loop adds, Redis may cost a calculation 25 ms, once."""
_STORE_SECONDS = 1.0
_CONNECT_SECONDS = 1.0
_QUESTIONS = 2_000
STORES = 256
"""Stores that may be under way."""


class _Unhurried:
    """The owner of a lane on which nobody waits: while it is late it takes nothing more, and look-ups go on."""

    def __init__(self, failed: Callable[[str], None]) -> None:
        self.failed = failed

    def late(self) -> None:
        """See Owner."""

    def caught_up(self) -> None:
        """See Owner."""

    def slow(self) -> None:
        """See Owner."""


class RedisClient:
    """A server, asked by way of two connections: one for what somebody waits for, one for what is stored.

    Nobody waits for a connection: they are made, and made again, by the circuit's probes.
    """

    def __init__(self, url: str, metrics: Metrics, **connection_options: object) -> None:
        """``url`` without options; raises ValueError for one that is none."""
        parsed = dict(parse_url(url))
        self._class = cast("type[TcpConnection]", parsed.pop("connection_class", TcpConnection))
        self._options = {
            **parsed,
            **connection_options,
            "protocol": 2,
            "driver_info": None,
            "socket_timeout": None,
            "socket_connect_timeout": _CONNECT_SECONDS,
        }
        self._questions = Lane(_ANSWER_SECONDS, _QUESTIONS, _refusal, self)
        self._stores = Lane(_STORE_SECONDS, STORES, _refusal, _Unhurried(self.failed))
        self.circuit = Circuit(self._probe, metrics)

    async def connected(self) -> Connection:
        """Return a connection of the caller's own; raises the driver's exceptions, and TimeoutError."""
        connection = cast("Connection", self._class(**self._options))  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def ask(self, *commands: Command) -> list[Reply]:
        """Return the answers to commands, in one round trip of at most 25 ms; raises CacheUnavailable.

        Values are bytes, None or int.
        """
        self._require_closed()
        replies = await self._questions.submit(*commands)
        refused = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
        if refused is not None:
            raise CacheUnavailable(f"Redis refuses a command: {refused}") from refused
        return replies

    async def evaluate(self, script: str, keys: Sequence[str | bytes], *arguments: Argument) -> Reply:
        """Return the answer of a script about some keys; its text is sent where its digest is not known.

        Raises CacheUnavailable.
        """
        digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            (reply,) = await self.ask(("EVALSHA", digest, len(keys), *keys, *arguments))
        except CacheUnavailable as refusal:
            if not isinstance(refusal.__cause__, NoScriptError):
                raise
            (reply,) = await self.ask(("EVAL", script, len(keys), *keys, *arguments))
        return reply

    def post(self, *commands: Command) -> None:
        """Send commands after those that were asked before; nobody hears what becomes of them, lost or refused."""
        if self.circuit.closed:
            with suppress(CacheUnavailable):
                self._questions.submit(*commands).add_done_callback(_heard)

    def store(self, *commands: Command) -> asyncio.Future[list[Reply]]:
        """Return the future answers to commands that take longer, refusals among them; raises CacheUnavailable."""
        self._require_closed()
        return self._stores.submit(*commands)

    def distrust(self, what: str) -> CacheUnavailable:
        """Return the error for an answer that no Redis gives, having opened the circuit."""
        self.failed(what)
        return CacheUnavailable("The cache answers something else.")

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self.circuit.aclose()
        await self._questions.aclose()
        await self._stores.aclose()

    def _require_closed(self) -> None:
        if not self.circuit.closed:
            raise CacheUnavailable(f"The cache is not asked: its circuit is {self.circuit}.")

    def late(self) -> None:
        """See Owner."""
        if not self.circuit.doubt():
            self.failed("no answer in time, again")

    def caught_up(self) -> None:
        """See Owner."""
        self.circuit.believe()

    def slow(self) -> None:
        """See Owner."""
        self.failed("slow")

    def failed(self, reason: str) -> None:
        """See Owner."""
        self.circuit.trip(reason)
        for lane in (self._questions, self._stores):
            lane.close("The cache does not answer.")

    async def _probe(self) -> None:
        """Connect, and return when a question is answered soon."""
        try:
            for lane in (self._questions, self._stores):
                lane.open(await self.connected())
            pong = await self._questions.submit(("PING",))
        except BaseException:
            self.failed("a probe failed")
            raise
        if pong != [b"PONG"]:
            raise self.distrust("no answer to a ping")
        if self._questions.slow:
            raise CacheUnavailable("The cache is slow.")
        if not (self._questions.opened and self._stores.opened):  # one has ended meanwhile, and both were closed
            raise CacheUnavailable("The cache has ended a connection.")


def _refusal(error: Exception) -> bool:
    """Whether an error is about one command; a server that was demoted takes none, and another one may stand there."""
    return isinstance(error, ResponseError) and not isinstance(error, ReadOnlyError | MasterDownError)


def _heard(answered: asyncio.Future[list[Reply]]) -> None:
    """Hear of an error, so that nobody is told that nobody did."""
    if not answered.cancelled():
        answered.exception()
