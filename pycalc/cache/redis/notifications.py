"""Notifications of revocations over Redis Pub/Sub. A notification is fast, but a disconnected process misses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from structlog import get_logger

from pycalc.backoff import full_jitter
from pycalc.cache.redis.client import RedisClient

_log = get_logger(__name__)


class RedisRevocationNotifications:
    """Notifications of revocations on one Redis channel."""

    def __init__(self, client: RedisClient, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._listener: asyncio.Task[None] | None = None

    def publish(self) -> None:
        self._client.post(self._client.redis.publish, self._channel, b"")

    def listen(self, heard: Callable[[], None]) -> None:
        self._listener = asyncio.get_running_loop().create_task(self._listen(heard), name="cache notifications")

    async def aclose(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})

    async def _listen(self, heard: Callable[[], None]) -> None:
        failures = 0
        while True:
            try:
                async with self._client.redis.pubsub() as pubsub:
                    async with asyncio.timeout(self._client.times.connect):
                        await pubsub.subscribe(self._channel)
                    silent = False
                    while True:
                        message = await pubsub.get_message(timeout=self._client.times.silence)
                        if message is None and silent:  # a host that vanishes does not close the connection
                            raise TimeoutError("no sign of life")
                        silent = message is None
                        if message is None:
                            await pubsub.ping()
                        elif message["type"] in {"message", "subscribe"}:
                            # Before a new subscription, some notifications may have been missed.
                            failures = 0
                            heard()
            except Exception as error:  # after any error, the database is still polled for revocations
                _log.info("revocation notifications are not received", reason=str(error) or type(error).__name__)
            failures += 1
            await asyncio.sleep(full_jitter(failures, longest=5.0))
