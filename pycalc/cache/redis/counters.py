"""Counters in Redis for the limits; a script adds an amount and sets the expiry in one round trip."""

from __future__ import annotations

from time import monotonic
from typing import Any

from limits.aio.storage.redis.bridge import RedisBridge

from pycalc.cache.base import Spent, counter_digest
from pycalc.cache.redis.client import RedisClient, value

# KEYS: the counter. ARGV: seconds to live, amount, limit. Adds the amount unless the count would exceed the limit.
# Returns whether it was added, the count, and the milliseconds to live.
_SPEND_SCRIPT = """
local fits = (redis.call('GET', KEYS[1]) or 0) + ARGV[2] <= tonumber(ARGV[3])
if fits and redis.call('INCRBY', KEYS[1], ARGV[2]) == tonumber(ARGV[2]) then
    redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return {fits and 1 or 0, tonumber(redis.call('GET', KEYS[1]) or 0), redis.call('PTTL', KEYS[1])}
"""


class RedisCounters:
    """A CounterStore in Redis, under keys that begin with ``prefix``; its methods raise CacheUnavailable."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._add = client.redis.register_script(RedisBridge.SCRIPT_INCR_EXPIRE)
        self._spend = client.redis.register_script(_SPEND_SCRIPT)
        self.clock = monotonic

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        count = await self._client.execute(int, self._add, [self._name(key)], [int(expiry), amount])
        if count < 0:  # the counter expired before a negative amount was added
            await self.clear(key)
        return max(0, count)

    async def spend(self, key: str, expiry: float, amount: int, limit: int) -> Spent:
        def spent(answer: Any) -> Spent:
            match answer:
                case [int(fits), int(count), int(milliseconds)]:
                    return Spent(fits == 1, min(count, limit), max(0, milliseconds) / 1000)
            raise TypeError("a counter is no number")

        return await self._client.execute(spent, self._spend, [self._name(key)], [int(expiry), amount, limit])

    async def get(self, key: str) -> int:
        return await self._client.execute(
            lambda answer: max(0, int(value(answer) or 0)), self._client.redis.get, self._name(key)
        )

    async def get_expiry(self, key: str) -> float:
        milliseconds = await self._client.execute(int, self._client.redis.pttl, self._name(key))
        return self.clock() + max(0, milliseconds) / 1000

    async def clear(self, key: str) -> None:
        await self._client.execute(int, self._client.redis.delete, self._name(key))

    def _name(self, key: str) -> str:
        return self._prefix + counter_digest(key).hex()
