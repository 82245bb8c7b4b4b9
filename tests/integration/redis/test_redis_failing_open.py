"""The service with a failing Redis: it answers as it does without Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from math import inf
from typing import Any

import gmpy2
import httpx
import pytest
from redis import Redis as Client

from pycalc.settings import Settings
from tests.conftest import require_program
from tests.harness.accounts import PASSWORD, history_of, new_name, registration
from tests.harness.garbage import SENSELESS, garbage
from tests.harness.redis import redis
from tests.harness.servers import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.programs]

TEXT = {"Accept": "text/plain"}
Url = AbstractContextManager[str]


@contextmanager
def refusing() -> Iterator[str]:
    """Yield the URL of a closed port."""
    yield f"redis://127.0.0.1:{free_port()}/0"


@contextmanager
def with_wrong_password() -> Iterator[str]:
    """Yield the URL of a Redis, with a wrong password."""
    with redis("--requirepass", "another") as server:
        yield server.url.replace("//", "//:wrong@")


@contextmanager
def full() -> Iterator[str]:
    """Yield the URL of a Redis without free memory."""
    with redis() as server, Client(port=server.port) as client:
        client.config_set("maxmemory", "1")
        yield server.url


@contextmanager
def hanging() -> Iterator[str]:
    """Yield the URL of a Redis that accepts connections and does not answer."""
    with redis() as server:
        server.pause()
        yield server.url


@contextmanager
def talking(name: str) -> Iterator[str]:
    """Yield the URL of a server that answers PONG to a connection's first command, and nonsense to later ones."""
    # A rate limit would accept a number as its count. Without a PONG, the circuit breaker's later probes fail.
    greeted = 2 if name == "a number" else inf
    with garbage(SENSELESS[name], b"+PONG\r\n", greeted) as port:
        yield f"redis://127.0.0.1:{port}/0"


AILMENTS: dict[str, Callable[[], Url]] = {
    "refusing": refusing,
    "wrong password": with_wrong_password,
    "full": full,
    "hanging": hanging,
    **{f"saying {name}": partial(talking, name) for name in SENSELESS},
}


@pytest.fixture(params=AILMENTS)
def settings(settings: Settings, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Return settings with a failing Redis, and with limits on logins, registrations and calculations."""
    require_program("redis-server")
    if request.param == "full":  # after a late reply, the rate limit may count a calculation twice
        request.getfixturevalue("patience")
    limits = {"login_limit": "3/minute", "register_limit": "100/hour", "rate_limit": "99/minute"}
    with AILMENTS[request.param]() as url:
        yield settings.model_copy(update={**limits, "cache_url": url})


async def test_the_answers_are_the_same(client: httpx.AsyncClient) -> None:
    """Registration, login, calculations, limits, readiness and history work as without Redis."""
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    for cached in (False, True):
        for path, value in CALCULATIONS.items():
            told = (await client.get(path)).json()
            assert (told["result"], told["cached"]) == (value(), cached), path
    digits = await client.get("/fibonacci/300000", headers=TEXT)
    assert digits.text == gmpy2.fib(300_000).digits()
    again = await client.get("/fibonacci/300000", headers={**TEXT, "If-None-Match": digits.headers["ETag"]})
    assert again.status_code == 304
    summary = (await client.get("/fibonacci/300000000?view=summary")).json()
    assert summary["digits"] == 62_696_292
    items = [{"operation": "fibonacci", "input": {"n": n}} for n in (40_000, 40_001, 40_000)]
    batch: dict[str, Any] = (await client.post("/batch", json={"operations": items})).json()
    assert [each["cached"] for each in batch["results"]] == [False, False, True]
    limit = (await client.get("/fibonacci/10")).headers["RateLimit"]
    assert int(limit.removeprefix('"minute";r=').partition(";")[0]) == 84
    wrong = {"username": name, "password": "a wrong password"}
    statuses = [(await client.post("/login", json=wrong)).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    ready = await client.get("/readyz")
    assert ready.status_code == 200
    assert set(ready.json()["checks"]) >= {"database", "cache"}
    assert len(await history_of(client)) == 2 * len(CALCULATIONS) + 7
    metrics = (await client.get("/metrics")).text
    assert 'status="5' not in metrics


CALCULATIONS: dict[str, Callable[[], Any]] = {
    "/fibonacci/100": lambda: "354224848179261915075",
    "/fibonacci/35000": lambda: gmpy2.fib(35_000).digits(),
    "/factorial/20000": lambda: gmpy2.fac(20_000).digits(),
    "/pow/3/100000?mod=1000007": lambda: pow(3, 100_000, 1_000_007),
}
