"""Counters in Redis, for the limits: those of the ``limits`` library, in one round trip (ADR 20)."""

from __future__ import annotations

from time import monotonic

from limits.aio.storage.redis.bridge import RedisBridge

from pycalc.cache.base import Spent, counter_digest
from pycalc.cache.redis.client import RedisClient
from pycalc.cache.redis.lane import Command, Reply

_INCR_SCRIPT = RedisBridge.SCRIPT_INCR_EXPIRE
"""Adds to a key (1) an amount (2); one that begins by that lives for so many seconds (1)."""
_SPEND_SCRIPT = """
local fits = (redis.call('GET', KEYS[1]) or 0) + ARGV[2] <= tonumber(ARGV[3])
if fits and redis.call('INCRBY', KEYS[1], ARGV[2]) == tonumber(ARGV[2]) then
    redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return {fits and 1 or 0, tonumber(redis.call('GET', KEYS[1]) or 0), redis.call('PTTL', KEYS[1])}
"""
"""As that, but adds nothing that takes the count over a limit (3); says whether it fits, count, milliseconds left."""


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
        """See CounterStore: nobody who asks at the same time sees what does not fit."""
        reply = await self._client.evaluate(_SPEND_SCRIPT, (self._name(key),), int(expiry), amount, limit)
        match reply:
            case [int(fits), int(count), int(left)]:
                return Spent(fits == 1, min(count, limit), max(0, left) / 1000)
        raise self._client.distrust("a counter is no number")

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
        return self._prefix + counter_digest(key).hex()

    def _adding(self, key: str, expiry: float, amount: int) -> Command:
        return ("EVAL", _INCR_SCRIPT, 1, self._name(key), int(expiry), amount)

    def _whole(self, reply: Reply) -> int:
        if not isinstance(reply, int):
            raise self._client.distrust("a counter is no number")
        return reply
