"""Server-sent events on their way out: heartbeats, and an end for clients that read no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from pycalc.errors import Unauthorized
from pycalc.models.auth import Principal, Role
from pycalc.models.events import Event, event_of
from pycalc.routers import events
from pycalc.routers.events import EventStream
from tests.services.stores import history_row

pytestmark = pytest.mark.anyio

FIRST = Event(b"", bytes(16), b"")
SCOPE = {"type": "http", "asgi": {"spec_version": "2.4"}}


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


async def test_heartbeats_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment at each, as long as the client has its rights; then the stream ends."""
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.01)
    following, sent = Following(told=0, rights=3), list[bytes]()

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    async with asyncio.timeout(10):
        await following.stream()(SCOPE, nothing, send)
    assert sent == [b"", b": connected\n\n", *[b": heartbeat\n\n"] * 3, b""]
    assert following.ended


async def test_a_client_that_stops_reading_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not take for a while ends the answer, and with it the following."""
    monkeypatch.setattr(events, "STALLED_SECONDS", 0.05)
    following, sent = Following(told=1_000), list[Message]()

    async def send(message: Message) -> None:
        if len(sent) == 10:
            await asyncio.Event().wait()
        sent.append(message)

    async with asyncio.timeout(10):
        await following.stream()(SCOPE, nothing, send)
    assert len(sent) == 10
    assert following.ended
