"""Notifications of revocations over a real Redis: received at once, and again after an outage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Any

import httpx
import pytest
from redis import Redis as Client
from redis.asyncio.client import PubSub

from pycalc.cache.redis.client import Times
from pycalc.resources import accounts
from pycalc.services.accounts.revocation_watcher import RevocationWatcher
from pycalc.settings import Settings
from tests.harness.accounts import new_session
from tests.harness.caches import opened
from tests.harness.in_process import changed, in_process
from tests.harness.proxy import proxy
from tests.harness.redis import AnyRedis
from tests.harness.servers import KEYS
from tests.harness.waiting import found, until

SOON_SILENT = Times(answer=5.0, silence=0.1)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]


Session = dict[str, str]
End = Callable[[httpx.AsyncClient, Session], Awaitable[None]]


async def log_out(client: httpx.AsyncClient, _: Session) -> None:
    """End a session by logging out."""
    assert (await client.post("/logout")).status_code == 204


async def use_a_refresh_token_again(client: httpx.AsyncClient, session: Session) -> None:
    """Reuse a refresh token, which ends its session."""
    token = {"refresh_token": session["refresh_token"]}
    for _ in range(2):
        token = {"refresh_token": (await client.post("/token/refresh", json=token)).json()["refresh_token"]}
    answer = await client.post("/token/refresh", json={"refresh_token": session["refresh_token"]})
    assert answer.status_code == 401


class Listener:
    """A listener that counts notifications."""

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self) -> None:
        self.heard += 1

    async def hears(self, what: str, publish: Callable[[], None] = lambda: None) -> None:
        """Call ``publish`` repeatedly until one more notification is received; ``what`` describes it in the error."""
        before = self.heard

        def heard() -> bool:
            publish()
            return self.heard > before

        await until(heard, what)


async def test_every_notification_is_received(redis_url: str) -> None:
    """An instance receives every notification that another instance publishes."""
    async with opened(redis_url) as here, opened(redis_url) as there:
        listener = Listener()
        there.cache.revocations.listen(listener)
        await listener.hears("it listens")
        for _ in range(100):
            here.cache.revocations.publish()
        await until(lambda: listener.heard == 1 + 100, "the notifications are heard")


@pytest.fixture
def shared(settings: Settings, postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings without polling for revocations, so that only notifications report them."""
    watcher = partial(RevocationWatcher, poll_seconds=3_600.0, trust_seconds=3_600.0)
    monkeypatch.setattr(accounts, "RevocationWatcher", watcher)
    return changed(settings, database_url=postgres_url, cache_url=redis_url, **KEYS)


@pytest.mark.parametrize("end", [log_out, use_a_refresh_token_again])
async def test_the_end_of_a_session_is_seen_on_another_instance(shared: Settings, end: End) -> None:
    """An instance refuses a token that it has cached, once it is notified that the session has ended."""
    async with in_process(shared) as here, in_process(shared) as there:
        session = await new_session(here)
        there.headers["Authorization"] = here.headers["Authorization"]

        async def answered(status: int) -> bool | None:
            return (await there.get("/me")).status_code == status or None

        assert await answered(200)
        await end(here, session)
        await found(lambda: answered(401), "the token is refused there")


async def test_notifications_are_received_after_a_restart(own_redis: AnyRedis) -> None:
    """After a restart of Redis, notifications are received again.

    The new connection itself counts as a notification, because one may have been missed.
    """
    async with opened(own_redis.url) as here, opened(own_redis.url) as there:
        listener = Listener()
        there.cache.revocations.listen(listener)
        await listener.hears("it listens")
        for _ in range(2):
            await listener.hears("a notification", here.cache.revocations.publish)
            before = listener.heard
            own_redis.kill()
            own_redis.start()
            await until(lambda: listener.heard > before, "it listens again")  # noqa: B023  # called before the next
            await here.healed()
            await listener.hears("a notification after the restart", here.cache.revocations.publish)


async def test_a_host_that_vanishes_is_noticed(redis_server: AnyRedis, redis_url: str) -> None:
    """If the host vanishes without closing the connection, the silent connection is replaced after a time."""
    async with proxy(redis_server.port) as between:
        url = redis_url.replace(str(redis_server.port), str(between.port))
        async with opened(url, times=SOON_SILENT) as there, opened(redis_url) as here:
            listener = Listener()
            there.cache.revocations.listen(listener)
            await listener.hears("it listens")
            between.vanish()
            await listener.hears("it listens again")
            await listener.hears("a notification", here.cache.revocations.publish)


async def test_a_silent_connection_is_kept(redis_server: AnyRedis, redis_url: str) -> None:
    """A silent connection is kept while the server answers pings, which do not count as notifications."""
    async with opened(redis_url, times=SOON_SILENT) as here:
        listener = Listener()
        here.cache.revocations.listen(listener)
        await listener.hears("it listens")
        with Client(port=redis_server.port) as client:
            before: Any = client.info("stats")
            began = monotonic()
            await until(lambda: monotonic() - began > 0.5, "it was silent for a while")
            after: Any = client.info("stats")
        assert after["total_connections_received"] == before["total_connections_received"]
        assert listener.heard == 1


async def test_a_subscription_that_can_t_be_made_ends_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that fails, for whatever reason, is tried again."""
    async with opened(redis_url) as there:
        redis = there.cache.client.redis
        made = redis.pubsub
        tries = 0

        def failing() -> PubSub:
            nonlocal tries
            tries += 1
            if tries <= 2:
                raise FileNotFoundError("no such certificate")
            return made()

        monkeypatch.setattr(redis, "pubsub", failing)
        listener = Listener()
        there.cache.revocations.listen(listener)
        await listener.hears("it listens after all")
        assert tries == 3
