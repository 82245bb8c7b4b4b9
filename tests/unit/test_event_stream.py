"""Server-sent events on their way out: heartbeats, and an end for clients that read no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message, Scope

from pycalc.errors import Unauthorized
from pycalc.models.auth import Principal, Role
from pycalc.models.events import Event, event_of
from pycalc.observability.requests import REQUEST, RequestContext
from pycalc.routers.events import HEARTBEAT_SECONDS, EventStream
from pycalc.routers.http.sending import in_time
from pycalc.services.limits.responses import ReadingSpeed
from tests.harness.stores import history_row
from tests.harness.virtual_time import in_virtual_time, now

pytestmark = pytest.mark.anyio

FIRST = Event(b"", bytes(16), b"")
SCOPES: list[Scope] = [
    {"type": "http", "asgi": {"spec_version": version}, REQUEST: RequestContext()} for version in ("2.3", "2.4")
]
"""Of servers that tell of a client's going by ``receive``, as Granian and Uvicorn do, and by ``send``."""


class Following:
    """A client's events, as the feed gives them, and its rights."""

    def __init__(self, told: int, rights: int = 1_000) -> None:
        self.ended = False
        self._told = told
        self._rights = rights

    async def events(self) -> AsyncGenerator[Event]:
        """Yield so many, then wait for more for ever."""
        try:
            for _ in range(self._told):
                yield event_of(history_row())
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # as one that has something to let go of
            self.ended = True

    async def identify(self) -> Principal:
        """Return who it is, so many times."""
        if not self._rights:
            raise Unauthorized("The session has ended.")
        self._rights -= 1
        return Principal(bytes(16), "ada", Role.USER, bytes(16), 0.0)

    def stream(self) -> EventStream:
        """Return what answers the client."""
        return EventStream(FIRST, self.events(), self.identify, asyncio.Event())


async def nothing() -> Message:
    """Nothing is heard of the client."""
    await asyncio.Event().wait()
    return {}


@pytest.mark.parametrize("scope", SCOPES)
@in_virtual_time
async def test_heartbeats_while_nothing_happens(scope: Scope) -> None:
    """A comment at each, as long as the client has its rights; then the stream ends."""
    following, sent, began = Following(told=0, rights=3), list[bytes](), now()

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    await following.stream()(scope, nothing, send)
    assert now() - began == pytest.approx(4 * HEARTBEAT_SECONDS)
    assert sent == [b"", b": connected\n\n", *[b": heartbeat\n\n"] * 3, b""]
    assert following.ended


@pytest.mark.parametrize("scope", SCOPES)
@in_virtual_time
async def test_a_client_that_stops_reading_gives_its_slot_back(scope: Scope) -> None:
    """What it does not take for a while ends the answer, and with it the following."""
    following, sent, began = Following(told=1_000), list[Message](), now()

    async def send(message: Message) -> None:
        if len(sent) == 10:
            await asyncio.Event().wait()
        sent.append(message)

    await following.stream()(scope, nothing, in_time(send, ReadingSpeed(30, 1_000)))
    assert now() - began == pytest.approx(30)
    assert len(sent) == 10
    assert following.ended


async def test_a_client_that_hangs_up_gives_its_place_back() -> None:
    """While its next event is waited for."""
    following, heard = Following(told=3), asyncio.Event()

    async def send(message: Message) -> None:
        if b"data: " in message.get("body", b""):
            heard.set()

    async def receive() -> Message:
        await heard.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(10):
        await following.stream()(SCOPES[0], receive, send)
    assert following.ended


async def test_a_head_that_nobody_takes_keeps_no_place() -> None:
    """The events are let go of before anything is sent."""
    following, sending = Following(told=3), asyncio.Event()
    events = following.events()
    await anext(events)  # as the route does

    async def send(_: Message) -> None:
        sending.set()
        await asyncio.Event().wait()

    stream = EventStream(FIRST, events, following.identify, asyncio.Event())
    answering = asyncio.create_task(stream({**SCOPES[0], REQUEST: RequestContext(content_wanted=False)}, nothing, send))
    async with asyncio.timeout(10):
        await sending.wait()
    assert following.ended
    answering.cancel()


async def test_a_head_alone_follows_nothing() -> None:
    """It is answered at once."""
    following, sent = Following(told=3), list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    stream = following.stream()
    await stream({**SCOPES[0], REQUEST: RequestContext(content_wanted=False)}, nothing, send)
    assert sent == [
        {"type": "http.response.start", "status": 200, "headers": stream.raw_headers},
        {"type": "http.response.body", "body": b""},
    ]
    assert stream.headers["content-type"].startswith("text/event-stream")
