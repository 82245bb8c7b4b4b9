"""A flood of logins against the real server: refused beyond a bound, and calculations go on."""

from __future__ import annotations

import httpx

from tests.services import flood
from tests.services.accounts import PASSWORD, new_person
from tests.services.metrics import metric
from tests.services.servers import pycalc
from tests.services.waiting import wait_until

CALCULATIONS = 100


def hashed(client: httpx.Client) -> float:
    """Return how many logins of the flood have been looked at."""
    return metric(client, "http_requests_total", route="/login", status="401")


def test_a_flood_of_logins_does_not_slow_calculations_down() -> None:
    """What is over the bound is 503; calculations wait for no hash: many are answered while a few hashes are made."""
    with pycalc(bcrypt_rounds="9", login_limit="") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        person = new_person(client)
        login = {"username": person.name, "password": PASSWORD}
        with flood.logins(server.url) as statuses:
            before = hashed(client)
            for _ in range(CALCULATIONS):
                client.get("/fibonacci/1000", headers=person.headers).raise_for_status()
            meanwhile = hashed(client) - before
            wait_until(lambda: hashed(client) > 0, "one of the flood is hashed")
        assert set(statuses) <= {401, 503}
        assert statuses[503] > statuses[401]
        refused = metric(client, "pycalc_password_hashes_refused_total")
        assert refused >= statuses[503]
        assert meanwhile < CALCULATIONS / 2
        wait_until(lambda: metric(client, "pycalc_password_hashes_waiting") == 0, "the last hash of the flood", 60)
        assert client.post("/login", json=login).status_code == 200
