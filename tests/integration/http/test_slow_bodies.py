"""Request bodies that arrive slowly: they get 408 after a time that grows with the bytes received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive

from pycalc.errors import RequestTimeout
from pycalc.main import create_app
from pycalc.resources.wiring import Resources
from pycalc.routers.http.connection import RequestBody, max_body
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.virtual_time import in_virtual_time, now

SENTENCE = "The body arrived too slowly: send it within 10 s, plus 1 s for every 16 KiB."
SECONDS, KIB = 10, 16  # the seconds that the message states
SCOPE: dict[str, object] = {"method": "POST", "headers": [], "path": "/login"}


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """Return an application with a time limit for bodies of 0.05 s instead of 10 s."""
    return create_app(settings, body_seconds=0.05)


@pytest.mark.anyio
async def test_a_body_that_stops_is_answered_with_408(client: httpx.AsyncClient, resources: Resources) -> None:
    """A body that stops arriving gets the problem request-timeout, which the metrics count by its status."""

    async def stopping() -> AsyncIterator[bytes]:
        yield b'{"username":'
        await asyncio.Event().wait()

    for path in ("/login", "/batch", "/calculations"):
        headers = {"Content-Type": "application/json", "Authorization": await _token(client)}
        answer = await client.post(path, content=stopping(), headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (408, "application/problem+json")
        assert answer.json()["type"] == "/docs/problems#request-timeout"
        assert answer.json()["detail"] == SENTENCE
        labels = {"route": path, "method": "POST", "status": "408"}
        assert resources.metrics.registry.get_sample_value("http_requests_total", labels) == 1


def arriving(*parts: tuple[float, bytes]) -> Receive:
    """Return a ``receive`` for an endless body; each part has its delay in seconds after the previous one."""
    came, loop = asyncio.Queue[bytes](), asyncio.get_running_loop()
    after = 0.0
    for seconds, part in parts:
        after += seconds
        loop.call_later(after, came.put_nowait, part)

    async def receive() -> Message:
        body = await came.get()
        while not came.empty():
            body += came.get_nowait()
        return {"type": "http.request", "body": body, "more_body": True}

    return receive


async def taken(receive: Receive) -> None:
    """Receive parts of a body until ``receive`` raises an error."""
    while True:
        await receive()


@in_virtual_time
async def test_each_part_of_a_body_gives_it_more_time() -> None:
    """A body has 10 s, plus 1 s for every 16 KiB received.

    Eight parts of 80 KiB, one every 5 s, are all read. If nothing follows, the body is refused 10 s after the last one.
    """

    @max_body(1_000_000)
    def endpoint() -> None: ...

    part, began = bytes(5 * KIB * 1024), now()
    receive_in_time = RequestBody({**SCOPE, "endpoint": endpoint}, arriving(*[(5.0, part)] * 8))
    assert b"".join([(await receive_in_time())["body"] for _ in range(8)]) == part * 8
    with pytest.raises(RequestTimeout):
        await receive_in_time()
    assert now() - began == pytest.approx(SECONDS + 40)


@in_virtual_time
async def test_tiny_parts_give_a_body_no_more_time() -> None:
    """A body of which one byte arrives every two seconds gets 408 after about 10 s."""
    began = now()
    receive_in_time = RequestBody(SCOPE, arriving(*[(2.0, b"1")] * 100))
    with pytest.raises(RequestTimeout):
        await taken(receive_in_time)
    assert now() - began == pytest.approx(10, abs=0.1)


@in_virtual_time
async def test_small_parts_that_are_there_are_all_taken() -> None:
    """Body parts that have already arrived are read without delay, even 5 s after the request began."""
    parts = [{"type": "http.request", "body": b"1", "more_body": number < 999} for number in range(1_000)]
    there = iter(parts)

    async def receive() -> Message:
        return next(there)

    receive_in_time = RequestBody(SCOPE, receive)
    await asyncio.sleep(5)
    began = now()
    assert [await receive_in_time() for _ in parts] == parts
    assert now() == began


@pytest.mark.parametrize(("every", "fewest", "most"), [(0.02, 20, 20), (0.25, 5, 14)])
@in_virtual_time
async def test_a_body_that_trickles_wakes_the_service_now_and_then_only(every: float, fewest: int, most: int) -> None:
    """Small parts are read one by one during the first second, and several together later; none is lost."""
    receive_in_time = RequestBody(SCOPE, arriving(*[(every, b"1")] * 20))
    taken = [(await receive_in_time())["body"]]
    while sum(map(len, taken)) < 20:
        taken.append((await receive_in_time())["body"])
    assert fewest <= len(taken) <= most


@pytest.mark.parametrize("_", range(20))
@in_virtual_time
async def test_the_end_of_a_pause_is_no_refusal(_: int) -> None:
    """A part that arrives before the deadline is accepted, even if the server is pausing at that moment.

    Between reads of small parts, the server pauses for 0.5 to 1.5 s.
    """
    receive_in_time = RequestBody(SCOPE, arriving((9.4, b"1"), (0.3, b"2")))
    assert (await receive_in_time())["body"] == b"1"
    assert (await receive_in_time())["body"] == b"2"


async def _token(client: httpx.AsyncClient) -> str:
    """Register an account, log in, and return the Authorization field."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return f"Bearer {session['access_token']}"
