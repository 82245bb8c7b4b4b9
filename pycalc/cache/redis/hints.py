"""Hints of revocations by Redis' publish and subscribe: immediate, and lost where nobody listens (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from structlog import get_logger

from pycalc.backoff import reconnecting
from pycalc.cache.redis.client import RedisClient
from pycalc.cache.redis.lane import Connection

_SUBSCRIBE_SECONDS = 1.0
_SILENCE_SECONDS = 1.0
"""After so long without a word the server is asked for one; after as long again it is gone."""
_GATHER_SECONDS = 0.02
"""Hints that come within this time are one: each has the database read."""

_log = get_logger(__name__)


class RedisHints:
    """See Hints."""

    def __init__(self, client: RedisClient, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._listener: asyncio.Task[None] | None = None
        self._gathering: asyncio.TimerHandle | None = None

    def publish(self) -> None:
        """See Hints."""
        self._client.post(("PUBLISH", self._channel, b""))

    def listen(self, heard: Callable[[], None]) -> None:
        """See Hints; a new connection counts as a hint, for there may have been some before."""
        self._listener = asyncio.get_running_loop().create_task(self._listen(heard), name="cache hints")

    async def aclose(self) -> None:
        """Stop listening."""
        if self._gathering is not None:
            self._gathering.cancel()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})

    async def _listen(self, heard: Callable[[], None]) -> None:
        """Listen for ever, on one connection after the other."""
        pauses = reconnecting()
        while True:
            try:
                async with self._subscribed() as connection:
                    pauses.reset()
                    self._hear(heard)
                    await self._heed(connection, heard)
            except Exception as error:  # whatever it is: revocations are polled too
                _log.info("no hints of revocations", reason=str(error) or type(error).__name__)
            await asyncio.sleep(pauses.next())

    async def _heed(self, connection: Connection, heard: Callable[[], None]) -> None:
        """Tell of hints for as long as the server gives a sign of life: a host that vanishes ends no connection."""
        asked = False
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    reply = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            except TimeoutError:
                if asked:
                    raise
                await connection.send_packed_command(connection.pack_commands([("PING",)]))
                asked = True
            else:
                asked = False
                if isinstance(reply, list) and reply[:1] == [b"message"]:
                    self._hear(heard)

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[Connection]:
        connection = await self._client.connected()
        try:
            async with asyncio.timeout(_SUBSCRIBE_SECONDS):
                await connection.send_packed_command(connection.pack_commands([("SUBSCRIBE", self._channel)]))
                await connection.read_response(disable_decoding=True)
            yield connection
        finally:
            await connection.disconnect(nowait=True)

    def _hear(self, heard: Callable[[], None]) -> None:
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._tell, heard)

    def _tell(self, heard: Callable[[], None]) -> None:
        self._gathering = None
        heard()
