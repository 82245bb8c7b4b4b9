"""A flood of logins: the excess logins are refused, while other requests are answered."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import bcrypt
import httpx
import pytest

from pycalc.resources.wiring import Resources
from pycalc.services.limits.rate_limits import FailedLogins
from tests.harness import flood
from tests.harness.accounts import PASSWORD, new_name, new_person, registration
from tests.harness.metrics import metric
from tests.harness.servers import pycalc
from tests.harness.waiting import until, wait_until


@pytest.mark.anyio
async def test_calculations_do_not_wait_for_hashes(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While password checks hang, calculations are answered; of 60 logins from one address 16 wait and 44 get 503.

    The service has 32 slots for password checks, of which a single address gets at most half.
    """
    name, released, check = new_name(), threading.Event(), bcrypt.checkpw
    await client.post("/register", json=registration(name))
    login = {"username": name, "password": PASSWORD}
    session = (await client.post("/login", json=login)).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"

    def held(password: bytes, hashed: bytes) -> bool:
        assert released.wait(60)
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", held)
    resources.login_limit = FailedLogins("", resources.metrics)
    logins = [asyncio.create_task(client.post("/login", json=login)) for _ in range(60)]
    try:
        await until(lambda: sum(task.done() for task in logins) == 60 - 16, "all but 16 are refused")
        for n in range(20):
            assert (await client.get(f"/fibonacci/{1_000 + n}")).status_code == 200
        assert (await client.get("/healthz")).status_code == 200
        assert sum(task.done() for task in logins) == 60 - 16
    finally:
        released.set()
    statuses = Counter(answer.status_code for answer in await asyncio.gather(*logins))
    assert statuses == {200: 16, 503: 44}
    value = resources.metrics.registry.get_sample_value
    assert value("pycalc_password_hashes_refused_total") == 44


def test_a_flood_of_logins_is_refused_and_calculations_go_on() -> None:
    """On a real server, each login of a flood over 60 connections gets 401 or 503, and calculations succeed."""
    with pycalc(bcrypt_rounds="9", login_limit="") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        person = new_person(client)
        with flood.logins(server.url) as statuses:
            for _ in range(50):
                client.get("/fibonacci/1000", headers=person.headers).raise_for_status()
        assert set(statuses) == {401, 503}
        refused = metric(client, "pycalc_password_hashes_refused_total")
        assert refused >= statuses[503]
        wait_until(lambda: metric(client, "pycalc_password_hashes_waiting") == 0, "the last hash of the flood", 60)
        login = {"username": person.name, "password": PASSWORD}
        assert client.post("/login", json=login).status_code == 200
