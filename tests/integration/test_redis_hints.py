"""Hints of revocations by way of a real Redis: heard at once, and again after it was away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio.connection import Connection as TcpConnection

from tests.services.caches import opened
from tests.services.redis import Redis
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


async def test_they_are_heard_again_after_a_restart(own_redis: Redis) -> None:
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
