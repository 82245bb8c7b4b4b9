"""If an account loses a right during a request, the change that the request would make is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import time
from typing import Any, cast

import httpx
import pytest

from pycalc.db.users import SqlUserStore
from pycalc.resources.wiring import Resources
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.in_process import Headers, bearer_of, new_user
from tests.harness.one_time_codes import code_at
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

Order = Callable[[Coroutine[Any, Any, httpx.Response]], Coroutine[Any, Any, asyncio.Task[httpx.Response]]]


@asynccontextmanager
async def in_order(resources: Resources) -> AsyncIterator[Order]:
    """Yield a function that begins a request, and returns once the request's write is queued.

    The writes wait until the ``with`` block ends, and are then made in the order in which the requests were begun.
    """
    database, free = cast("SqlUserStore", resources.accounts.users)._database, threading.Event()
    await until(lambda: not any(database.queue_lengths().values()), "earlier work is done")
    blocked = asyncio.create_task(database.write(lambda _connection: free.wait(20)))

    async def begin(request: Coroutine[Any, Any, httpx.Response]) -> asyncio.Task[httpx.Response]:
        before = database.queue_lengths()["write"]
        begun = asyncio.create_task(request)
        await until(lambda: begun.done() or database.queue_lengths()["write"] > before, "the request's write waits")
        return begun

    await until(lambda: database.queue_lengths()["write"] == 1, "the writer is busy")
    try:
        yield begin
    finally:
        free.set()
        assert await blocked


ACTS: dict[str, tuple[str, str, object]] = {
    "another admin": ("PATCH", "/users/{name}", {"role": "admin"}),
    "a deletion": ("DELETE", "/users/{name}", None),
    "a password reset": ("POST", "/users/{name}/password-reset", None),
    "the end of sessions": ("DELETE", "/users/{name}/sessions", None),
    "no second factor": ("DELETE", "/users/{name}/totp", None),
}


@pytest.mark.parametrize(("method", "path", "body"), ACTS.values(), ids=ACTS.keys())
async def test_an_admin_who_is_demoted_changes_no_account(
    client: httpx.AsyncClient, resources: Resources, admin: Headers, method: str, path: str, body: object
) -> None:
    """An admin who is demoted during a request to change an account gets 403, and the account is unchanged."""
    other = new_name()
    assert (await client.post("/register", json=registration(other, role="admin"), headers=admin)).status_code == 201
    demoted = await bearer_of(client, other)
    name, user = await new_user(client)
    secret = (await client.post("/me/totp", json={"password": PASSWORD}, headers=user)).json()["secret"]
    await client.post("/me/totp/confirm", json={"totp": code_at(secret, time())}, headers=user)
    before = (await client.get("/me", headers=user)).json()
    async with in_order(resources) as begin:
        demotion = await begin(client.patch(f"/users/{other}", json={"role": "user"}, headers=admin))
        act = await begin(client.request(method, path.format(name=name), json=body, headers=demoted))
    assert [(await demotion).status_code, (await act).status_code] == [200, 403]
    after = await client.get("/me", headers=user)
    assert (after.status_code, after.json()) == (200, before)
    assert (await client.get(f"/users/{name}", headers=admin)).json()["role"] == "user"


async def test_a_session_that_ends_makes_no_key(client: httpx.AsyncClient, resources: Resources) -> None:
    """A key that a stolen session requests while the owner ends all sessions is not made."""
    name, stolen = await new_user(client)
    own = await bearer_of(client, name)
    async with in_order(resources) as begin:
        ended = await begin(client.post("/logout-all", headers=own))
        key = await begin(client.post("/me/keys", json={"name": "a thief's"}, headers=stolen))
    assert [(await ended).status_code, (await key).status_code] == [204, 401]
    assert (await client.get("/me/keys", headers=await bearer_of(client, name))).json() == []
