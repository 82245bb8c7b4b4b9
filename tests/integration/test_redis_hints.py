"""Hints of revocations by way of a real Redis: heard at once, and again after it was away."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from redis.asyncio.connection import Connection as TcpConnection

from pycalc.cache import redis_hints
from pycalc.cache.redis_lane import Connection
from tests.services.caches import opened
from tests.services.proxy import proxy
from tests.services.redis import AnyRedis, Redis
from tests.services.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]


class Listener:
    """Counts hints."""

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self) -> None:
        self.heard += 1

    async def hears(self, what: str, publish: Callable[[], None] = lambda: None) -> None:
        """Wait until there is one more hint than now, published as often as it takes."""
        before = self.heard

        def heard() -> bool:
            publish()
            return self.heard > before

        await until(heard, what)


async def test_what_one_says_all_hear(redis_url: str) -> None:
    """Many at once are a few: each has the database read."""
    async with opened(redis_url) as here, opened(redis_url) as there:
        listener = Listener()
        there.cache.hints.listen(listener)
        await listener.hears("it listens")
        for _ in range(100):
            here.cache.hints.publish()
        await until(lambda: listener.heard >= 2, "the hint is heard")
        await here.cache.ping()
        assert listener.heard < 10


async def test_they_are_heard_again_after_a_restart(own_redis: AnyRedis) -> None:
    """A new connection counts as a hint, for there may have been some meanwhile; then there are hints as before."""
    async with opened(own_redis.url) as here, opened(own_redis.url) as there:
        listener = Listener()
        there.cache.hints.listen(listener)
        await listener.hears("it listens")
        for _ in range(2):
            await listener.hears("a hint", here.cache.hints.publish)
            before = listener.heard
            own_redis.kill()
            own_redis.start()
            await until(lambda: listener.heard > before, "it listens again")  # noqa: B023  # called before the next
            await here.healed()
            await listener.hears("a hint after the restart", here.cache.hints.publish)


@pytest.mark.serial
async def test_a_host_that_vanishes_is_noticed(real_redis: Redis) -> None:
    """It ends no connection, and nobody asks it for anything: two seconds later it is connected to anew.

    Half a second is for the pause before that, and for connecting.
    """
    async with proxy(real_redis.port) as between:
        url = real_redis.url.replace(str(real_redis.port), str(between.port))
        async with opened(url) as there, opened(real_redis.url) as here:
            listener = Listener()
            there.cache.hints.listen(listener)
            await listener.hears("it listens")
            between.vanish()
            began = monotonic()
            await listener.hears("it listens again")
            assert monotonic() - began < 2.5
            await listener.hears("a hint", here.cache.hints.publish)


async def test_silence_is_no_end(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the server gives a sign of life the connection stays, and a sign of life is no hint."""
    monkeypatch.setattr(redis_hints, "_SILENCE_SECONDS", 0.1)
    async with opened(redis_url) as here:
        client = here.cache._client
        connections = 0
        connected = client.connected

        async def counting() -> Connection:
            nonlocal connections
            connections += 1
            return await connected()

        monkeypatch.setattr(client, "connected", counting)
        listener = Listener()
        here.cache.hints.listen(listener)
        await listener.hears("it listens")
        began = monotonic()
        await until(lambda: monotonic() - began > 0.5, "it was silent for a while")
        assert (connections, listener.heard) == (1, 1)


async def test_a_connection_that_can_t_be_made_ends_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with it, such as a certificate that is being replaced: it is tried again."""
    async with opened(redis_url) as there:
        client = there.cache._client
        made = client._class
        tries = 0

        def failing(**options: Any) -> TcpConnection:
            nonlocal tries
            tries += 1
            if tries <= 2:
                raise FileNotFoundError("no such certificate")
            return made(**options)

        monkeypatch.setattr(client, "_class", failing)
        listener = Listener()
        there.cache.hints.listen(listener)
        await listener.hears("it listens after all")
        assert tries == 3
