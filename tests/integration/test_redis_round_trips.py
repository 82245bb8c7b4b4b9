"""What the service asks Redis for a calculation: one round trip, whether it is a hit, a miss, cheap or expensive."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from pycalc.settings import Settings
from tests.services.accounts import PASSWORD, new_name, registration
from tests.services.proxy import Proxy, proxy
from tests.services.redis import Redis
from tests.services.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]


@pytest.fixture
async def between(redis_server: Redis) -> AsyncIterator[Proxy]:
    """Stand between the service and Redis."""
    async with proxy(redis_server.port) as running:
        yield running


@pytest.fixture
def settings(settings: Settings, between: Proxy) -> Settings:
    """Settings of a service that keeps no results in its process, and counts nothing."""
    url = f"redis://127.0.0.1:{between.port}/0?namespace={new_name()}&max_bytes=0"
    return settings.model_copy(update={"cache_url": url, "login_limit": "", "rate_limit": ""})


def verbs(between: Proxy) -> list[str]:
    """Return the first command of each part that was sent: a long value takes several."""
    parts = (part.split(b"\r\n") for part in between.received if part.startswith(b"*"))
    return [lines[2].decode() for lines in parts]


@pytest.mark.parametrize(
    ("path", "miss", "hit"),
    [
        ("/fibonacci/35000", ["GET", "SET"], ["GET"]),
        ("/factorial/100000", ["EVALSHA", "SET", "EVAL"], ["EVALSHA"]),
    ],
    ids=["cheap", "expensive"],
)
async def test_one_round_trip_is_waited_for(
    client: httpx.AsyncClient, between: Proxy, path: str, miss: list[str], hit: list[str]
) -> None:
    """A miss looks up, and claims the lease of what is expensive, at once; it is stored, and let go of, afterwards."""
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    assert (await client.get("/factorial/100001")).status_code == 200  # from here on Redis knows the script
    await until(lambda: verbs(between)[-1] == "EVAL", "the lease is let go of")
    for cached, asked in ((False, miss), (True, hit)):
        between.received.clear()
        assert (await client.get(path)).json()["cached"] is cached
        await until(lambda: len(verbs(between)) >= len(asked), "everything is sent")  # noqa: B023  # called at once
        assert verbs(between) == asked
