"""Counters in Redis, for the limits: those of the ``limits`` library, in one round trip (ADR 20)."""

from __future__ import annotations

from hashlib import blake2b
from time import monotonic

from limits.aio.storage.redis.bridge import RedisBridge

from pycalc.cache.base import Spent
from pycalc.cache.redis_client import RedisClient
from pycalc.cache.redis_lane import Command, Reply

_INCR_SCRIPT = RedisBridge.SCRIPT_INCR_EXPIRE
"""Adds to a key (1) an amount (2); one that begins by that lives for so many seconds (1)."""


class RedisCounters:
    """The counters under a prefix; see CounterStore. Each call raises CacheUnavailable."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self.clock = monotonic

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """See CounterStore."""
        (reply,) = await self._client.ask(self._adding(key, expiry, amount))
        count = self._whole(reply)
        if count < 0:  # it had expired before something was taken from it
            await self.clear(key)
        return max(0, count)

    async def spend(self, key: str, expiry: float, amount: int, limit: int) -> Spent:
        """See CounterStore.

        What does not fit is taken back, unless there was no room at all: then the counter only runs on.
        """
        added, left = await self._client.ask(self._adding(key, expiry, amount), ("PTTL", self._name(key)))
        count, seconds = self._whole(added), max(0, self._whole(left)) / 1000
        if count <= limit:
            return Spent(True, count, seconds)
        before = count - amount
        if before < limit:
            self._client.post(self._adding(key, expiry, -amount))
        return Spent(False, min(before, limit), seconds)

    async def get(self, key: str) -> int:
        """See CounterStore."""
        (reply,) = await self._client.ask(("GET", self._name(key)))
        if reply is None:
            return 0
        if not isinstance(reply, bytes) or not reply.lstrip(b"-").isdigit():
            raise self._client.distrust("a counter is no number")
        return max(0, int(reply))

    async def get_expiry(self, key: str) -> float:
        """See CounterStore."""
        (reply,) = await self._client.ask(("PTTL", self._name(key)))
        return self.clock() + max(0, self._whole(reply)) / 1000

    async def clear(self, key: str) -> None:
        """See CounterStore."""
        await self._client.ask(("DEL", self._name(key)))

    def _name(self, key: str) -> str:
        """Return the Redis key of a counter: clients choose how long their names are, and of which characters."""
        return self._prefix + blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def _adding(self, key: str, expiry: float, amount: int) -> Command:
        return ("EVAL", _INCR_SCRIPT, 1, self._name(key), int(expiry), amount)

    def _whole(self, reply: Reply) -> int:
        if not isinstance(reply, int):
            raise self._client.distrust("a counter is no number")
        return reply
