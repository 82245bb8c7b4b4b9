"""The service's commands to Redis for a calculation: each key takes one round trip, both for hits and misses."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from itertools import count

import httpx
import pytest
from redis import Redis as Client

from pycalc.resources.wiring import Resources
from pycalc.routers.http.representations import etags_of
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, make_plan
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.proxy import Proxy, proxy
from tests.harness.redis import AnyRedis
from tests.harness.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patience")]

NUMBERS = count(36_000)


@pytest.fixture
async def between(redis_server: AnyRedis) -> AsyncIterator[Proxy]:
    """Run a proxy that records the commands between the service and Redis."""
    async with proxy(redis_server.port) as running:
        yield running


@pytest.fixture
def settings(settings: Settings, between: Proxy) -> Settings:
    """Return settings without a local tier and without rate limits."""
    url = f"redis://127.0.0.1:{between.port}/0?namespace={new_name()}&max_bytes=0"
    return settings.model_copy(update={"cache_url": url, "login_limit": "", "rate_limit": ""})


@pytest.fixture
async def asking(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a logged-in client."""
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    return client


async def make_known(asking: httpx.AsyncClient, between: Proxy, redis_server: AnyRedis) -> None:
    """Make Redis forget all scripts, then load those that take and release leases."""
    with Client(port=redis_server.port) as client:
        client.script_flush()
    assert (await asking.get("/factorial/100001")).status_code == 200
    known = ["SET", "EVALSHA", "SCRIPT", "EVALSHA"]
    await until(lambda: verbs(between)[-4:] == known, "the lease is released")


def verbs(between: Proxy) -> list[str]:
    """Return the commands that were sent, except keep-alive pings."""
    sent = (verb for part in between.received for verb in re.findall(rb"\*\d+\r\n\$\d+\r\n([A-Z]+)\r\n", part))
    return [verb.decode() for verb in sent if verb != b"PING"]


@pytest.mark.parametrize(
    ("path", "miss", "hit"),
    [
        ("/fibonacci/10", [], []),
        ("/fibonacci/35000", ["GET", "SET"], ["GET"]),
        ("/factorial/100000", ["EVALSHA", "SET", "EVALSHA"], ["EVALSHA"]),
    ],
    ids=["trifling", "cheap", "expensive"],
)
async def test_one_round_trip_is_waited_for(
    asking: httpx.AsyncClient,
    between: Proxy,
    redis_server: AnyRedis,
    path: str,
    miss: list[str],
    hit: list[str],
) -> None:
    """A cache miss takes one round trip for the look-up, which also claims a lease if the result is expensive.

    The result is stored later. A result that is computed faster than Redis replies is neither looked up nor stored.
    """
    await make_known(asking, between, redis_server)
    for asked in (miss, hit):
        between.received.clear()
        assert (await asking.get(path)).json()["cached"] is (asked is hit and bool(hit))
        await sent(asking, between, asked)


@pytest.mark.parametrize(
    ("path", "miss", "hit"),
    [
        ("/fibonacci/100", [], []),
        ("/factorial/20000", ["GET", "GET", "SET"], ["GET", "GET"]),
        (f"/pow/{'7' * 200}/500", ["GET", "GET", "SET"], ["GET", "GET"]),
        ("/factorial/250000", ["GET", "SET"], ["GET"]),
        (f"/pow/3/{10**200}?mod={10**200 + 1}", ["GET", "SET"], ["GET"]),
        (f"/pow/3/{10**900}?mod={10**900 + 1}", ["GET", "SET"], ["GET"]),
        (f"/factorial/{10**8}?mod=200000033", ["EVALSHA", "SET", "EVALSHA"], ["EVALSHA"]),
    ],
    ids=["trifling", "ends", "ends of long operands", "ends of a long result", "residue", "dear residue", "expensive"],
)
async def test_a_conditional_request_asks_once_for_each_key(
    asking: httpx.AsyncClient,
    resources: Resources,
    between: Proxy,
    redis_server: AnyRedis,
    path: str,
    miss: list[str],
    hit: list[str],
) -> None:
    """A conditional request looks up a result in Redis and, if it is missing, its size and its first and last digits.

    For a long result only the second look-up is made, for a residue only the first. A result that is computed faster
    than Redis replies is not looked up.
    """
    await make_known(asking, between, redis_server)
    tag = tag_of(path, resources)
    for asked in (miss, hit):
        between.received.clear()
        assert (await asking.get(path, headers={"Accept": "text/plain", "If-None-Match": tag})).status_code == 304
        await sent(asking, between, asked)


async def test_a_conditional_request_for_what_is_stored_is_one_look_up(
    asking: httpx.AsyncClient, between: Proxy
) -> None:
    """A conditional request for a cached result takes one look-up; the history has it as cached, with its SHA-256."""
    tag = (await asking.get("/fibonacci/100000", headers={"Accept": "text/plain"})).headers["ETag"]
    await until(lambda: "SET" in verbs(between), "it is stored")
    between.received.clear()
    conditional = {"Accept": "text/plain", "If-None-Match": tag}
    assert (await asking.get("/fibonacci/100000", headers=conditional)).status_code == 304
    await sent(asking, between, ["GET"])
    newest = (await asking.get("/secure-history?limit=2")).json()["items"][1]
    assert (newest["input"], newest["cached"]) == ({"n": 100_000}, True)
    assert newest["sha256"] is not None


async def test_an_unknown_residue_is_computed_for_its_record(asking: httpx.AsyncClient, resources: Resources) -> None:
    """If a client has a residue that is not cached, its conditional request gets 304; the history has the residue."""
    path = "/pow/7/222?mod=1000"
    conditional = {"Accept": "text/plain", "If-None-Match": tag_of(path, resources)}
    answer = await asking.get(path, headers=conditional)
    assert (answer.status_code, answer.content) == (304, b"")
    newest = (await asking.get("/secure-history?limit=1")).json()["items"][0]
    assert (newest["input"], newest["result"]) == ({"x": 7, "y": 222, "mod": 1000}, 49)
    assert (newest["digits"], newest["cached"]) == (2, False)


def tag_of(path: str, resources: Resources) -> str:
    """Return the ETag of a path's digits, without computing the digits."""
    operands, _, query = path.partition("?mod=")
    name, *literals = operands[1:].split("/")
    options = DEFAULT_OPTIONS._replace(modulus=query or None)
    return etags_of(make_plan(25_000_000, name, tuple(literals), options).key, resources.etag_key)[0]


async def sent(asking: httpx.AsyncClient, between: Proxy, commands: list[str]) -> None:
    """Assert that the service has sent only these commands to Redis; one more request shows that none follow."""
    await until(lambda: len(verbs(between)) >= len(commands), "everything is sent")
    assert (await asking.get(f"/fibonacci/{next(NUMBERS)}")).status_code == 200
    await until(lambda: len(verbs(between)) >= len(commands) + 2, "the next one is stored")
    assert verbs(between) == [*commands, "GET", "SET"]
