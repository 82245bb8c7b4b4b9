"""Leases in Redis: of several processes that want a result at once, one computes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha1
from secrets import token_bytes
from typing import Any

from redis.asyncio.lock import Lock

from pycalc.cache.base import Claim
from pycalc.cache.redis.client import RedisClient
from pycalc.cache.redis.names import Names
from pycalc.cache.redis.writer import INLINE_BYTES, Writer
from pycalc.errors import CacheUnavailable
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
# KEYS: result. ARGV: SHA-1. Deletes a result with this digest; the value itself may be too long to send back.
_DISCARD_SCRIPT = """
local stored = redis.call('GET', KEYS[1])
if stored and redis.sha1hex(stored) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

# Returns the result in a reply to GET, None when there is none or it is damaged; raises CacheUnavailable.
Accept = Callable[[str, Any], Awaitable[Result | None]]


class RedisClaim:
    """A Claim by a token, which stands under the lease's key and is renewed until the lease is released."""

    def __init__(self, leases: RedisLeases, key: str) -> None:
        self._leases = leases
        self._key = key
        self._result = leases.names.result(leases.names.label(key))
        self._lease = leases.names.lease(self._result)
        self._token = token_bytes(12)
        self._unanswered = False
        self._renewing: asyncio.Task[None] | None = None

    async def take(self) -> Result | bool:
        leases = self._leases
        self._unanswered = True
        reply = await leases.client.ask(leases.take, [self._result, self._lease], [self._token, leases.lease_ms])
        self._unanswered = False
        match reply:
            case 0:
                return False
            case 1:
                self._renewing = self._renewing or leases.start_renewing(self._lease, self._token)
                return True
            case bytes():
                result = await leases.accept(self._key, reply)
                if result is None:  # a damaged value is in the way of the next caller, unless it was replaced by now
                    hashed = partial(sha1, reply, usedforsecurity=False)
                    digest = await asyncio.to_thread(hashed) if len(reply) > INLINE_BYTES else hashed()
                    await leases.client.ask(leases.discard, [self._result], [digest.hexdigest()])
                return result or False
        raise leases.client.unexpected_reply("no answer to a claim")

    def release(self) -> None:
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            self._leases.writer.after(self._result, partial(self._release_now, renewing))
        elif self._unanswered:  # the lease may have been taken all the same
            self._release_now()

    def _release_now(self, renewing: asyncio.Task[None] | None = None) -> None:
        if renewing is not None:
            renewing.cancel()
        self._leases.client.post(self._leases.release, [self._lease], [self._token])


class RedisLeases:
    """Leases in Redis; a holder releases its lease when the result is stored, so the next one finds the result."""

    def __init__(self, client: RedisClient, writer: Writer, names: Names, accept: Accept) -> None:
        self.client = client
        self.writer = writer
        self.names = names
        self.accept = accept
        self.lease_ms = int(client.times.lease * 1000)
        self.take = client.redis.register_script(_TAKE_SCRIPT)
        self.discard = client.redis.register_script(_DISCARD_SCRIPT)
        self.release = client.redis.register_script(Lock.LUA_RELEASE_SCRIPT)
        self._renew = client.redis.register_script(Lock.LUA_REACQUIRE_SCRIPT)
        self._renewing: set[asyncio.Task[None]] = set()

    def hands_on(self, digits: int) -> bool:
        return self.writer.fits(digits)

    def claim(self, key: str) -> Claim:
        return RedisClaim(self, key)

    def start_renewing(self, lease: bytes, token: bytes) -> asyncio.Task[None]:
        """Renew a lease until this task is cancelled, the leases are closed, or the lease is another token's."""

        async def renew() -> None:
            held: Any = 1
            while held:
                await asyncio.sleep(self.client.times.renewal)
                try:
                    held = await self.client.ask(self._renew, [lease], [token, self.lease_ms])
                except CacheUnavailable:
                    continue

        task = asyncio.get_running_loop().create_task(renew(), name="cache lease")
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)
        return task

    def close(self) -> None:
        """Renew no lease any more."""
        for task in self._renewing:
            task.cancel()
