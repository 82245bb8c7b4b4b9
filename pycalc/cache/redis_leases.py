"""Leases in Redis: of several processes that want a result at once, one makes it (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from secrets import token_bytes

from pycalc.cache.redis_client import RELEASE_SCRIPT, RENEW_SCRIPT, RedisClient
from pycalc.cache.redis_lane import Command, Reply
from pycalc.cache.redis_names import Names
from pycalc.cache.redis_writer import Writer
from pycalc.errors import CacheUnavailable
from pycalc.models.results import Result

_LEASE_MS = 3_000
"""How long others wait for a process that is gone."""
_RENEW_SECONDS = 1.0

Accept = Callable[[str, Reply], Awaitable[Result | None]]
"""Returns the result in an answer to GET, None when there is none or it is damaged."""


class RedisLease:
    """A key that holds a token of ours, renewed until it is released."""

    def __init__(self, client: RedisClient, writer: Writer, name: bytes, token: bytes) -> None:
        self._client = client
        self._writer = writer
        self._name = name
        self._token = token
        self.renewing = asyncio.get_running_loop().create_task(self._renew(), name="cache lease")

    def release(self) -> None:
        """See Lease."""
        self.renewing.cancel()
        self._writer.then(_releasing(self._name, self._token))

    async def _renew(self) -> None:
        held: Reply = 1
        while held:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                (held,) = await self._client.ask(("EVAL", RENEW_SCRIPT, 1, self._name, self._token, _LEASE_MS))
            except CacheUnavailable:
                continue


class RedisLeases:
    """See Leases."""

    def __init__(self, client: RedisClient, writer: Writer, names: Names, accept: Accept) -> None:
        self._client = client
        self._writer = writer
        self._names = names
        self._accept = accept
        self._renewing: set[asyncio.Task[None]] = set()

    def hands_on(self, digits: int) -> bool:
        """See Leases."""
        return self._writer.fits(digits)

    async def take(self, key: str) -> RedisLease | Result | None:
        """See Leases.

        Who holds a lease stores its result before letting go, so whoever takes it after that finds the result.
        """
        label = self._names.label(key)
        name, token = self._names.lease(label), token_bytes(12)
        try:
            taken, stored = await self._client.ask(
                ("SET", name, token, "NX", "PX", _LEASE_MS), ("GET", self._names.result(label))
            )
            result = await self._accept(key, stored)
        except asyncio.CancelledError:
            self._client.post(_releasing(name, token))
            raise
        if result is not None:
            self._client.post(_releasing(name, token))
            return result
        if taken is None:
            return None
        lease = RedisLease(self._client, self._writer, name, token)
        self._renewing.add(lease.renewing)
        lease.renewing.add_done_callback(self._renewing.discard)
        return lease

    def close(self) -> None:
        """Renew nothing any more."""
        for task in self._renewing:
            task.cancel()


def _releasing(name: bytes, token: bytes) -> Command:
    """Return the command that lets go of a lease, if it still is this token's."""
    return ("EVAL", RELEASE_SCRIPT, 1, name, token)
