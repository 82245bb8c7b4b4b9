"""Live events as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pycalc.errors import FieldProblem, InvalidInput, PycalcError
from pycalc.models.auth import Principal
from pycalc.models.events import Event
from pycalc.models.formats import Uuid
from pycalc.models.history import HISTORY_EXAMPLE
from pycalc.models.ids import id_of_text, text_of_id
from pycalc.models.scopes import KeyScope
from pycalc.observability.requests import context_of
from pycalc.routers.http.deps import EventsReadDep, ResourcesDep, caller_of
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.problem_types import responses
from pycalc.routers.http.sending import ClientTooSlow
from pycalc.services.events.history_poller import HEARTBEAT

_EXAMPLE = {
    "specversion": "1.0",
    "id": HISTORY_EXAMPLE["id"],
    "source": "/pycalc",
    "type": "pycalc.operation.completed.v1",
    "subject": "01a22906-847c-77c9-9d9a-64781add2c0c",
    "time": HISTORY_EXAMPLE["created_at"],
    "datacontenttype": "application/json",
    "data": HISTORY_EXAMPLE,
}
_STREAM = {
    "description": "Server-sent events: `id` is the event's id, `data` a CloudEvents 1.0 JSON object.",
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": f"id: {_EXAMPLE['id']}\ndata: {json.dumps(_EXAMPLE, separators=(',', ':'))}\n\n",
        }
    },
}

router = APIRouter(tags=["history"], route_class=StrictRoute)


def _encode(event: Event) -> bytes:
    """Return the lines of an event. An event without data only sets the client's Last-Event-ID, if it has an id."""
    identity = b"id: %b\n" % text_of_id(event.id).encode() if event.id else b": connected\n"
    return identity + (b"data: %b\n\n" % event.payload if event.payload else b"\n")


class EventStream(StreamingResponse):
    """A stream of events. While there are none, comments are sent as heartbeat.

    The stream ends when ``events`` ends or raises a PycalcError, or when the client reads too slowly.
    """

    def __init__(self, first: Event, events: AsyncGenerator[Event]) -> None:
        """Stream ``first``, then ``events``."""
        self._events = events
        self._body = self._lines(first)
        super().__init__(self._body, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, and the events if the request is a GET. In the end, release the subscription."""
        try:
            if context_of(scope).content_wanted:
                await super().__call__(scope, receive, send)
            else:
                await self._events.aclose()  # before the response, so that a slow client keeps no slot
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
        finally:
            await self._body.aclose()
            await self._events.aclose()

    async def stream_response(self, send: Send) -> None:
        """Send the head and the events. Return without an error if the client reads too slowly."""
        with suppress(ClientTooSlow):
            await super().stream_response(send)

    async def _lines(self, first: Event) -> AsyncGenerator[bytes]:
        yield _encode(first)
        with suppress(PycalcError):
            async for event in self._events:
                yield b": heartbeat\n\n" if event is HEARTBEAT else _encode(event)


@router.get(
    "/events",
    operation_id="followEvents",
    response_class=StreamingResponse,
    responses={200: _STREAM, **responses("overloaded")},
)
async def events(
    request: Request,
    _: EventsReadDep,
    resources: ResourcesDep,
    last_event_id: Annotated[Uuid | None, Header(description="resume after this event")] = None,
) -> StreamingResponse:
    """Follow one's own calculations live (an admin: everyone's). `Last-Event-ID` resumes without a gap."""

    async def identify() -> Principal:
        return await caller_of(request.scope, resources, KeyScope.EVENTS_READ)

    try:
        after = id_of_text(last_event_id) if last_event_id else None
    except ValueError:
        detail = "Last-Event-ID must be the id of an event; leave it out to begin now."
        raise InvalidInput.of(FieldProblem("/last-event-id", detail)) from None
    following = resources.feed.subscribe(identify, after)
    return EventStream(await anext(following), following)
