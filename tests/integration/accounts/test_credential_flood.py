"""Floods of invented credentials: refusing them needs no database write, and delays no valid request."""

from __future__ import annotations

import asyncio
import base64
import secrets
import threading
from collections.abc import AsyncIterator, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import httpx
import pytest

from pycalc.db.sqlite import SqliteDatabase
from pycalc.db.users import SqlUserStore
from pycalc.models.ids import id_of_text
from pycalc.resources.wiring import Resources
from pycalc.services.limits.fair_database import FairDatabase
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
    """While database writes hang, requests with invented credentials are answered; calculations succeed afterwards."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await client.get("/fibonacci/10", headers=headers)).status_code == 200
    fast = threading.Event()
    database = cast("SqliteDatabase", cast("SqlUserStore", resources.accounts.users)._database)
    slow = asyncio.create_task(database.write(lambda _connection: fast.wait(20)))
    await asyncio.gather(*(_invented(client, number) for number in range(_AT_ONCE)))
    assert not slow.done()
    calculations = [asyncio.create_task(client.get(f"/fibonacci/{n}", headers=headers)) for n in range(1_000, 1_020)]
    await until(lambda: bool(resources.calculator.recorder._committing), "a commit waits for the write before it")
    fast.set()
    assert [(await calculation).status_code for calculation in calculations] == [200] * 20
    assert await slow


@asynccontextmanager
async def _share_held(database: FairDatabase, who: Hashable) -> AsyncIterator[None]:
    """Occupy all database reads and writes that a client may run at once, during the ``with`` block."""
    async with AsyncExitStack() as stack:
        for limit, most in ((database._reads, 32), (database._writes, 8)):
            for _ in range(most):
                await stack.enter_async_context(limit.slot(who))
        yield


async def test_keys_refreshes_and_exports_wait_for_no_share(client: httpx.AsyncClient, resources: Resources) -> None:
    """API keys, refreshes and exports still work for a client that already runs its maximum of database commands."""
    # These requests have limits for all clients together. If they waited for their own client's reads and writes, they
    # would delay other clients.
    name = new_name()
    user = (await client.post("/register", json=registration(name))).json()
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    key = (await client.post("/me/keys", json={"name": "new"}, headers=headers)).json()["key"]
    database = cast("FairDatabase", cast("SqlUserStore", resources.accounts.users)._database)
    async with _share_held(database, "127.0.0.1"):
        by_key = await client.get("/fibonacci/10", headers={"Authorization": f"Bearer {key}"})
        assert by_key.status_code == 200, by_key.text
        refreshed = await client.post("/token/refresh", json={"refresh_token": session["refresh_token"]})
        assert refreshed.status_code == 200, refreshed.text
    async with _share_held(database, id_of_text(user["id"])):
        export = await client.get("/secure-history", headers={**headers, "Accept": "application/x-ndjson"})
        assert (export.status_code, len(export.text.splitlines())) == (200, 1)
