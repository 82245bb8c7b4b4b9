"""The database's queues are shared fairly: one user's requests do not keep those of others from the database."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import cast

import httpx
import pytest

from pycalc.db.users import SqlUserStore
from pycalc.errors import Overloaded
from pycalc.models.auth import Principal, Role
from pycalc.observability.requests import REQUEST, RequestContext, current
from pycalc.resources.wiring import Resources
from tests.harness.accounts import PASSWORD
from tests.harness.in_process import new_user
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

_FLOOD = 1_100  # more than wait for one client
_ATTACKER = Principal(b"attacker", "attacker", Role.USER, b"session", 0.0)


@pytest.mark.parametrize(("queue", "threads"), [("read", 4), ("write", 1)])
async def test_a_user_who_floods_the_database_harms_nobody_else(
    client: httpx.AsyncClient, resources: Resources, queue: str, threads: int
) -> None:
    """While one user's requests wait for the database and some of them are refused, another user's login succeeds."""
    name, _ = await new_user(client)
    users = cast("SqlUserStore", resources.accounts.users)
    database, free = users._database, threading.Event()
    await until(lambda: not any(database.queue_lengths().values()), "the audit entries of the new user are stored")
    work = {"read": database.read, "write": database.write}[queue]
    slow = [asyncio.create_task(work(lambda _connection: free.wait(20))) for _ in range(threads)]

    async def request() -> None:
        current.set({REQUEST: RequestContext(caller=_ATTACKER)})
        with suppress(Overloaded):
            await (users.by_id(b"") if queue == "read" else users.upgrade_hash(b"", "", ""))

    flood = [asyncio.create_task(request()) for _ in range(_FLOOD)]
    await until(lambda: any(each.done() for each in flood), "a request of the attacker is refused")
    before = database.queue_lengths()[queue]
    login = asyncio.create_task(client.post("/login", json={"username": name, "password": PASSWORD}))
    await until(lambda: login.done() or database.queue_lengths()[queue] > before, "the login waits for the database")
    free.set()
    assert (await login).status_code == 200
    await asyncio.gather(*flood)
    assert await asyncio.gather(*slow) == [True] * threads
