"""Counters of limits in Redis. A script adds an amount and sets the expiries in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycalc.cache.base import Bound, Spent, counter_digest
from pycalc.cache.redis.client import RedisClient

# KEYS: the counters. ARGV: the amount, then the seconds to live and the limit of each counter. Adds the amount to all
# counters, or to none if one would exceed its limit. Returns for each whether it has room, its count, and its
# milliseconds to live.
_SPEND_SCRIPT = """
local amount, room, all = tonumber(ARGV[1]), {}, true
for place, key in ipairs(KEYS) do
    room[place] = (redis.call('GET', key) or 0) + amount <= tonumber(ARGV[2 * place + 1])
    all = all and room[place]
end
local answer = {}
for place, key in ipairs(KEYS) do
    if all and amount ~= 0 then
        local count = redis.call('INCRBY', key, ARGV[1])
        if count <= 0 then
            redis.call('DEL', key)
        elseif count == amount then
            redis.call('EXPIRE', key, ARGV[2 * place])
        end
    end
    answer[place] = {room[place] and 1 or 0, tonumber(redis.call('GET', key) or 0), redis.call('PTTL', key)}
end
return answer
"""


class RedisCounters:
    """A CounterStore in Redis with keys that begin with ``prefix``.

    Its methods raise CacheUnavailable if Redis does not answer. Expiries are rounded down to whole seconds.
    """

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._spend = client.redis.register_script(_SPEND_SCRIPT)

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        def states(answer: Any) -> list[Spent]:
            spent = []
            for state, bound in zip(answer, bounds, strict=True):
                match state:  # not by unpacking, because bytes are a sequence of numbers too
                    case [int(room), int(count), int(milliseconds)]:
                        spent.append(Spent(room == 1, min(count, bound.limit), max(0, milliseconds) / 1000))
                    case _:
                        raise TypeError("a counter is no number")
            return spent

        arguments = [number for bound in bounds for number in (int(bound.expiry), bound.limit)]
        keys = [self._name(bound.key) for bound in bounds]
        return await self._client.execute(states, self._spend, keys, [amount, *arguments])

    async def clear(self, *keys: str) -> None:
        await self._client.execute(int, self._client.redis.delete, *map(self._name, keys))

    def _name(self, key: str) -> str:
        return self._prefix + counter_digest(key).hex()
