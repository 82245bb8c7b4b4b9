"""Leases in Redis: of several processes that want a result at once, one computes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from secrets import token_bytes
from typing import Any

from redis.asyncio.lock import Lock

from pycalc.cache.base import Claim
from pycalc.cache.redis.client import RedisClient
from pycalc.cache.redis.writer import Writer
from pycalc.models.results import Result

# KEYS: result, lease. ARGV: token, milliseconds. Returns the stored result; without one, takes or renews the lease
# unless another token holds it, and returns 1 if this token holds it, else 0.
_TAKE_SCRIPT = """
local stored = redis.call('GET', KEYS[1])
if stored then return stored end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""

# Returns the result in the value stored under a key, None when it is damaged; raises CacheUnavailable.
Accept = Callable[[str, bytes], Awaitable[Result | None]]
# Returns the name in Redis of a "result", or of a "lease" on one, from the result's key.
Name = Callable[[str, str], bytes]


def _taken(answer: Any) -> bytes | bool:
    """Return the stored value, or whether the lease is held; raises TypeError for any other answer."""
    if answer in (0, 1):
        return bool(answer)
    if not isinstance(answer, bytes):
        raise TypeError("neither a value nor a lease")
    return answer


class RedisClaim:
    """A Claim by a token, which stands under the lease's key and is renewed until the lease is released."""

    def __init__(self, leases: RedisLeases, key: str) -> None:
        self._leases = leases
        self._client = leases.client
        self._key = key
        self._result = leases.name("result", key)
        self._lease = leases.name("lease", key)
        self._token = token_bytes(12)
        self._may_hold = False
        self._renewal: asyncio.TimerHandle | None = None

    async def take(self) -> Result | bool:
        self._may_hold = True  # also when the answer is lost
        names, arguments = [self._result, self._lease], [self._token, self._leases.lease_ms]
        answer = await self._client.execute(_taken, self._leases.take, names, arguments)
        self._may_hold = answer is True
        if isinstance(answer, bytes):
            result = await self._leases.accept(self._key, answer)
            if result is None:  # a damaged value would be in the way of the next caller
                await self._client.execute(bool, self._client.redis.delete, self._result)
            return result or False
        if answer and self._renewal is None:
            self._renew_later()
        return answer

    def release(self) -> None:
        if self._may_hold:
            self._may_hold = False
            self._leases.writer.after(self._result, self._release_now)

    def _release_now(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._client.post(self._leases.release, [self._lease], [self._token])

    def _renew_later(self) -> None:
        def renew() -> None:
            self._client.post(self._leases.renew, [self._lease], [self._token, self._leases.lease_ms])
            self._renew_later()

        self._renewal = asyncio.get_running_loop().call_later(self._client.times.renewal, renew)


class RedisLeases:
    """Leases in Redis; a holder releases its lease when the result is stored, so the next one finds the result."""

    def __init__(self, client: RedisClient, writer: Writer, name: Name, accept: Accept) -> None:
        self.client = client
        self.writer = writer
        self.name = name
        self.accept = accept
        self.lease_ms = int(client.times.lease * 1000)
        self.take = client.redis.register_script(_TAKE_SCRIPT)
        self.renew = client.redis.register_script(Lock.LUA_REACQUIRE_SCRIPT)
        self.release = client.redis.register_script(Lock.LUA_RELEASE_SCRIPT)

    def hands_on(self, digits: int) -> bool:
        return self.writer.fits(digits)

    def claim(self, key: str) -> Claim:
        return RedisClaim(self, key)
