"""A flood of invented credentials does not wait for database writes, and makes no calculation fail."""

from __future__ import annotations

import asyncio
import base64
import secrets
import threading
from typing import cast

import httpx
import pytest

from pycalc.db.sqlite import SqliteDatabase
from pycalc.db.users import SqlUserStore
from pycalc.resources.wiring import Resources
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

_AT_ONCE = 500


async def _invented(client: httpx.AsyncClient, number: int) -> None:
    if number % 2:
        await client.get("/me", headers={"Authorization": f"Bearer pck_{secrets.token_urlsafe(32)}"})
    else:
        token = "pcr_" + base64.urlsafe_b64encode(secrets.token_bytes(48)).decode()
        await client.post("/token/refresh", json={"refresh_token": token})


async def test_invented_credentials_do_not_make_calculations_fail(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    """Invented credentials are answered while writes are blocked, and afterwards every calculation succeeds."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await client.get("/fibonacci/10", headers=headers)).status_code == 200
    fast = threading.Event()
    database = cast("SqliteDatabase", cast("SqlUserStore", resources.accounts._users)._database)
    slow = asyncio.create_task(database.write(lambda _connection: fast.wait(20)))
    await asyncio.gather(*(_invented(client, number) for number in range(_AT_ONCE)))
    assert not slow.done()
    calculations = [asyncio.create_task(client.get(f"/fibonacci/{n}", headers=headers)) for n in range(1_000, 1_020)]
    await until(lambda: bool(resources.calculator._recorder._committing), "a commit waits for the write before it")
    fast.set()
    assert [(await calculation).status_code for calculation in calculations] == [200] * 20
    assert await slow
