"""Server-sent event responses: heartbeats, and an end for clients that stop reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message, Receive, Scope, Send

from pycalc.errors import Unauthorized
from pycalc.models.events import Event, event_of
from pycalc.observability.requests import REQUEST, RequestContext
from pycalc.routers.events import EventStream
from pycalc.routers.http.sending import ClientTooSlow, in_time
from pycalc.services.events.history_poller import HEARTBEAT
from pycalc.services.limits.concurrency import ReadingSpeed
from tests.harness.stores import history_row
from tests.harness.virtual_time import in_virtual_time, now

pytestmark = pytest.mark.anyio

FIRST = Event(b"", bytes(16), b"")
HEAD: Scope = {"type": "http", REQUEST: RequestContext(content_wanted=False)}


class FakeSubscription:
    """A subscription with ``count`` events."""

    def __init__(self, count: int) -> None:
        self.ended = False
        self._count = count

    async def events(self) -> AsyncGenerator[Event]:
        """Yield the given number of events, then wait for ever."""
        try:
            for _ in range(self._count):
                yield event_of(history_row())
            await asyncio.Event().wait()
        finally:
            self.ended = True

    def stream(self) -> EventStream:
        """Return a response with an event stream."""
        return EventStream(FIRST, self.events())


async def respond(stream: EventStream, receive: Receive, send: Send) -> None:
    """Answer a GET with the stream, as the application does."""
    context = RequestContext()
    await stream({"type": "http", REQUEST: context}, receive, send)
    assert context.send_rest is not None
    await context.send_rest(receive, send)


async def nothing() -> Message:
    """Wait without end, as if the client sent nothing."""
    await asyncio.Event().wait()
    return {}


async def test_heartbeats_until_the_rights_end() -> None:
    """Heartbeats are sent as comments, and the stream ends when the client's rights end."""
    sent = list[bytes]()

    async def events() -> AsyncGenerator[Event]:
        yield HEARTBEAT
        yield HEARTBEAT
        raise Unauthorized("The session has ended.")

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    await respond(EventStream(FIRST, events()), nothing, send)
    assert sent == [b"", b": connected\n\n", b": heartbeat\n\n", b": heartbeat\n\n", b""]


@in_virtual_time
async def test_a_client_that_stops_reading_gives_its_slot_back() -> None:
    """If the client does not read for 30 s, the response ends with ClientTooSlow, and its subscription ends."""
    subscription, sent, began = FakeSubscription(count=1_000), list[Message](), now()

    async def send(message: Message) -> None:
        if len(sent) == 10:
            await asyncio.Event().wait()
        sent.append(message)

    with pytest.raises(ClientTooSlow):
        await respond(subscription.stream(), nothing, in_time(send, ReadingSpeed(30, 1_000)))
    assert now() - began == pytest.approx(30)
    assert len(sent) == 10
    assert subscription.ended


async def test_a_disconnect_releases_the_slot() -> None:
    """If the client disconnects while the next event is awaited, the subscription ends."""
    subscription, heard = FakeSubscription(count=3), asyncio.Event()

    async def send(message: Message) -> None:
        if b"data: " in message.get("body", b""):
            heard.set()

    async def receive() -> Message:
        await heard.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(10):
        await respond(subscription.stream(), receive, send)
    assert subscription.ended


async def test_an_unexpected_error_is_raised_itself() -> None:
    """An unexpected error of the event feed is raised itself, and not in an ExceptionGroup, so that logs name it."""

    async def events() -> AsyncGenerator[Event]:
        yield HEARTBEAT
        raise ZeroDivisionError

    async def send(_: Message) -> None:
        pass

    with pytest.raises(ZeroDivisionError):
        await respond(EventStream(FIRST, events()), nothing, send)


async def test_a_head_response_keeps_no_slot() -> None:
    """The subscription of a HEAD request is ended before the response is sent."""
    subscription, sending = FakeSubscription(count=3), asyncio.Event()
    events = subscription.events()
    await anext(events)  # the route does this

    async def send(_: Message) -> None:
        sending.set()
        await asyncio.Event().wait()

    stream = EventStream(FIRST, events)
    answering = asyncio.create_task(stream(HEAD, nothing, send))
    async with asyncio.timeout(10):
        await sending.wait()
    assert subscription.ended
    answering.cancel()


async def test_a_head_response_has_no_content() -> None:
    """A HEAD request gets the header and no content, without waiting for events."""
    subscription, sent = FakeSubscription(count=3), list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    stream = subscription.stream()
    await stream(HEAD, nothing, send)
    assert sent == [
        {"type": "http.response.start", "status": 200, "headers": stream.raw_headers},
        {"type": "http.response.body", "body": b""},
    ]
    assert stream.headers["content-type"].startswith("text/event-stream")
