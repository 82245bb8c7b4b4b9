"""A body that does not come: the client is told, and nothing waits for it any longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message

from pycalc.resources import Resources
from pycalc.routers.connection import RequestBody
from tests.services.accounts import PASSWORD, new_name, registration

pytestmark = pytest.mark.anyio
SCOPE: dict[str, object] = {"method": "POST", "headers": [], "path": "/login"}


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


async def test_small_parts_that_are_there_are_all_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the body takes already: only who lets the service wait has to wait."""
    monkeypatch.setattr("pycalc.routers.connection._BRISK_SECONDS", 0.0)
    parts = [{"type": "http.request", "body": b"1", "more_body": number < 999} for number in range(1_000)]
    there = iter(parts)

    async def receive() -> Message:
        return next(there)

    receive_in_time = RequestBody(SCOPE, receive)
    assert [await receive_in_time() for _ in parts] == parts


@pytest.mark.parametrize(("brisk", "fewest", "most"), [(60.0, 20, 20), (0.0, 3, 14)])
async def test_a_body_that_trickles_wakes_the_service_now_and_then_only(
    monkeypatch: pytest.MonkeyPatch, brisk: float, fewest: int, most: int
) -> None:
    """After a while what has come meanwhile is taken together; the body comes whole, not later than it may."""
    limits = {"BODY_SECONDS": 5.0, "BRISK_SECONDS": brisk, "SHORTEST_PAUSE": 0.1, "LONGEST_PAUSE": 0.1}
    for name, seconds in limits.items():
        monkeypatch.setattr(f"pycalc.routers.connection._{name}", seconds)
    looked, came = 0, asyncio.Queue[bytes]()

    async def trickle() -> None:
        for _ in range(20):
            tick = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.02, tick.set_result, None)
            await tick
            came.put_nowait(b"1")

    async def receive() -> Message:
        nonlocal looked
        looked += 1
        body = await came.get()
        while not came.empty():
            body += came.get_nowait()
        return {"type": "http.request", "body": body, "more_body": True}

    receive_in_time, taken = RequestBody(SCOPE, receive), 0
    async with asyncio.TaskGroup() as group:
        group.create_task(trickle())
        while taken < 20:
            taken += len((await receive_in_time())["body"])
    assert fewest <= looked <= most


async def test_the_end_of_a_pause_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come by the deadline is taken, however long the pause would have been."""
    limits = {"BODY_SECONDS": 0.2, "BRISK_SECONDS": 0.0, "SHORTEST_PAUSE": 60.0, "LONGEST_PAUSE": 60.0}
    for name, seconds in limits.items():
        monkeypatch.setattr(f"pycalc.routers.connection._{name}", seconds)
    parts: asyncio.Queue[Message] = asyncio.Queue()

    async def receive() -> Message:
        return await parts.get()

    receive_in_time = RequestBody(SCOPE, receive)
    late = {"type": "http.request", "body": b"1", "more_body": True}
    asyncio.get_running_loop().call_later(0.05, parts.put_nowait, late)
    assert (await receive_in_time())["body"] == b"1"
    parts.put_nowait({"type": "http.request", "body": b"2", "more_body": False})
    assert (await receive_in_time())["body"] == b"2"


async def _token(client: httpx.AsyncClient) -> str:
    """Return the header of an account of its own."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return f"Bearer {session['access_token']}"
