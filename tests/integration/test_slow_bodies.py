"""A body that does not come: the client is told, and nothing waits for it any longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message

from pycalc.resources import Resources
from pycalc.routers.connection import body_in_time
from tests.services.accounts import PASSWORD, new_name, registration

pytestmark = pytest.mark.anyio


async def test_a_body_that_stops_is_answered_with_408(
    client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """request-timeout as a problem, counted by its status; a body in time is taken."""
    monkeypatch.setattr("pycalc.routers.connection._BODY_SECONDS", 0.05)

    async def stopping() -> AsyncIterator[bytes]:
        yield b'{"username":'
        await asyncio.Event().wait()

    for path in ("/login", "/batch"):
        headers = {"Content-Type": "application/json", "Authorization": await _token(client)}
        answer = await client.post(path, content=stopping(), headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (408, "application/problem+json")
        assert answer.json()["type"] == "/docs/problems#request-timeout"
        labels = {"route": path, "method": "POST", "status": "408"}
        assert resources.metrics.registry.get_sample_value("http_requests_total", labels) == 1


async def test_each_part_of_a_body_gives_it_more_time(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body of eight parts, each in half the time that one has, comes whole."""
    monkeypatch.setattr("pycalc.routers.connection._BODY_SECONDS", 0.2)
    monkeypatch.setattr("pycalc.routers.connection._BODY_BYTES_A_SECOND", 1)
    loop = asyncio.get_running_loop()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"username":"nobody",'
        for _ in range(8):
            tick = loop.create_future()
            loop.call_later(0.1, tick.set_result, None)
            await tick
            yield b" "
        yield b'"password":"correct horse battery staple"}'

    answer = await client.post("/login", content=slow(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 401


@pytest.mark.parametrize(("size", "seen"), [(1_023, 1), (1_024, 4)])
async def test_a_slow_body_in_crumbs_wakes_the_service_now_and_then_only(
    monkeypatch: pytest.MonkeyPatch, size: int, seen: int
) -> None:
    """After a while the next small part is left where it is for a moment; larger ones are taken as they come."""
    seconds_of = {"BODY_SECONDS": 0.05, "BRISK_SECONDS": 0.0, "SHORTEST_PAUSE": 60.0, "LONGEST_PAUSE": 60.0}
    for name, seconds in seconds_of.items():
        monkeypatch.setattr(f"pycalc.routers.connection._{name}", seconds)
    parts = iter([{"type": "http.request", "body": bytes(size), "more_body": number < 3} for number in range(4)])
    taken = 0

    async def receive() -> Message:
        return next(parts)

    receive_in_time = body_in_time(receive)
    with suppress(HTTPException):
        for _ in range(4):
            await receive_in_time()
            taken += 1
    assert taken == seen


async def _token(client: httpx.AsyncClient) -> str:
    """Return the header of an account of its own."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return f"Bearer {session['access_token']}"
