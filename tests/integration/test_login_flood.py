"""A flood of logins against the real server: refused beyond a bound, and calculations go on."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import httpx
import pytest

from tests.services import flood
from tests.services.accounts import PASSWORD, new_person
from tests.services.metrics import metric
from tests.services.servers import pycalc
from tests.services.waiting import wait_until

pytestmark = pytest.mark.serial

CALCULATIONS = 100
SHARE = 0.1
"""Of the time of one hash: what waited behind hashes would take as long as several."""


def seconds(client: httpx.Client, method: str, path: str, **request: object) -> float:
    """Return how long an answer takes, which must be a 200."""
    began = perf_counter()
    client.request(method, path, **request).raise_for_status()  # type: ignore[arg-type]
    return perf_counter() - began


def test_a_flood_of_logins_does_not_slow_calculations_down() -> None:
    """What is over the bound is 503 at once; meanwhile a calculation takes a fraction of the time of one hash."""
    with pycalc(bcrypt_rounds="11", login_limit="") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        person = new_person(client)
        login = {"username": person.name, "password": PASSWORD}
        hashing = median(seconds(client, "POST", "/login", json=login) for _ in range(3))
        with flood.logins(server.url) as statuses:
            times = [seconds(client, "GET", "/fibonacci/1000", headers=person.headers) for _ in range(CALCULATIONS)]
            health = seconds(client, "GET", "/healthz")
            answered = {"route": "/login", "status": "401"}
            wait_until(lambda: metric(client, "http_requests_total", **answered) > 0, "one of the flood is hashed")
        assert set(statuses) == {401, 503}
        assert statuses[503] > statuses[401]
        refused = metric(client, "pycalc_password_hashes_refused_total")
        assert refused >= statuses[503]
        assert median(times) < SHARE * hashing, (median(times), hashing)
        assert health < hashing
        wait_until(lambda: metric(client, "pycalc_password_hashes_waiting") == 0, "the last hash of the flood", 60)
        assert client.post("/login", json=login).status_code == 200
