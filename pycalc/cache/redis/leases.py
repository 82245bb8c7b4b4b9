"""Leases in Redis: of several processes that want a result at once, one makes it (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from hashlib import sha1
from secrets import token_bytes

from pycalc.cache.base import Claim
from pycalc.cache.redis.client import RELEASE_SCRIPT, RENEW_SCRIPT, RedisClient
from pycalc.cache.redis.lane import Reply
from pycalc.cache.redis.names import Names
from pycalc.cache.redis.writer import INLINE_BYTES, Writer
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result

_LEASE_MS = 3_000
"""How long others wait for a process that is gone."""
_RENEW_SECONDS = 1.0
_TAKE_SCRIPT = """
local stored = redis.call('GET', KEYS[1])
if stored then return stored end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""Returns a result (1); where there is none, whether a lease (2) is a token's (1) now, for so many milliseconds (2)."""
_DISCARD_SCRIPT = """
local stored = redis.call('GET', KEYS[1])
if stored and redis.sha1hex(stored) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
"""Deletes a result (1) that has a digest (1): the value itself may be long, and others wait for what is sent."""

Accept = Callable[[str, Reply], Awaitable[Result | None]]
"""Returns the result in an answer to GET, None when there is none or it is damaged; raises CacheUnavailable."""


class RedisClaim:
    """See Claim: a token of its own, under a key while the lease is held, which is renewed until it is let go of."""

    def __init__(self, leases: RedisLeases, key: str) -> None:
        self._leases = leases
        self._client = leases.client
        self._key = key
        self._result = leases.names.result(leases.names.label(key))
        self._lease = leases.names.lease(self._result)
        self._token = token_bytes(12)
        self._unanswered = False
        self._renewing: asyncio.Task[None] | None = None

    async def take(self) -> Result | bool:
        """See Claim."""
        self._unanswered = True
        reply = await self._client.evaluate(_TAKE_SCRIPT, (self._result, self._lease), self._token, _LEASE_MS)
        self._unanswered = False
        match reply:
            case 0:
                return False
            case 1:
                self._renewing = self._renewing or self._leases.keep(self._renew())
                return True
            case bytes():
                result = await self._leases.accept(self._key, reply)
                if result is None:  # it is damaged, and in the way of whoever asks next, unless it was replaced by now
                    self._client.post(("EVAL", _DISCARD_SCRIPT, 1, self._result, await _digest(reply)))
                return result or False
        raise self._client.distrust("no answer to a claim")

    def release(self) -> None:
        """See Claim."""
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            self._leases.writer.after(self._result, partial(self._let_go, renewing))
        elif self._unanswered:
            self._let_go()

    def _let_go(self, renewing: asyncio.Task[None] | None = None) -> None:
        if renewing is not None:
            renewing.cancel()
        self._client.post(("EVAL", RELEASE_SCRIPT, 1, self._lease, self._token))

    async def _renew(self) -> None:
        held: Reply = 1
        while held:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                (held,) = await self._client.ask(("EVAL", RENEW_SCRIPT, 1, self._lease, self._token, _LEASE_MS))
            except CacheUnavailable:
                continue


class RedisLeases:
    """See Leases."""

    def __init__(self, client: RedisClient, writer: Writer, names: Names, accept: Accept) -> None:
        self.client = client
        self.writer = writer
        self.names = names
        self.accept = accept
        self._renewing: set[asyncio.Task[None]] = set()

    def hands_on(self, digits: int) -> bool:
        """See Leases."""
        return self.writer.fits(digits)

    def claim(self, key: str) -> Claim:
        """See Leases.

        Who holds a lease lets go when its result is stored, so whoever takes it after that finds the result.
        """
        return RedisClaim(self, key)

    def keep(self, renewal: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a renewal, until it is cancelled or the leases are closed."""
        task = asyncio.get_running_loop().create_task(renewal, name="cache lease")
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)
        return task

    def close(self) -> None:
        """Renew nothing any more."""
        for task in self._renewing:
            task.cancel()


async def _digest(value: bytes) -> str:
    """Return what Redis' sha1hex makes of a value."""
    hashed = partial(sha1, value, usedforsecurity=False)
    return (await asyncio.to_thread(hashed) if len(value) > INLINE_BYTES else hashed()).hexdigest()
