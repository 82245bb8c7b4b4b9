"""Live events as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from starlette.types import Receive, Scope, Send

from pycalc.errors import FieldProblem, InvalidInput, PycalcError
from pycalc.models.auth import KeyScope
from pycalc.models.events import Event
from pycalc.models.formats import Uuid
from pycalc.models.history import HISTORY_EXAMPLE
from pycalc.models.ids import id_of_text, text_of_id
from pycalc.observability.requests import context_of
from pycalc.routers.http.connection import ClientGone, disconnected
from pycalc.routers.http.deps import EventsReadDep, ResourcesDep, caller_of
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.problem_types import responses
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
    """Return the lines of a server-sent event: a comment without an id; without data, only a new Last-Event-ID."""
    if event is HEARTBEAT:
        return b": heartbeat\n\n"
    identity = b"id: %b\n" % text_of_id(event.id).encode() if event.id else b": connected\n"
    return identity + (b"data: %b\n\n" % event.payload if event.payload else b"\n")


class EventStream(Response):
    """A response that streams events until they end or raise a PycalcError, or the client disconnects.

    A disconnect is no error, because it is how clients end a stream.
    """

    media_type = "text/event-stream"

    def __init__(self, first: Event, events: AsyncGenerator[Event]) -> None:
        """Stream ``first``, then ``events``."""
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a HEAD. For a GET, let the application call ``send_events`` after FastAPI has returned."""
        if context_of(scope).content_wanted:
            # The frames of FastAPI's functions would take as much memory as the open stream itself.
            context_of(scope).send_rest = self.send_events
            return
        await self._events.aclose()  # before the response, so that a slow client keeps no slot
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b""})

    async def send_events(self, receive: Receive, send: Send) -> None:
        """Send the header fields and the events. Release the subscription at the end. Raises the errors of ``send``."""

        async def watch() -> None:
            await disconnected(receive)
            raise ClientGone

        try:
            async with aclosing(self._events), asyncio.TaskGroup() as group:
                watching = group.create_task(watch())
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": _encode(self._first), "more_body": True})
                with suppress(PycalcError):
                    async for event in self._events:
                        await send({"type": "http.response.body", "body": _encode(event), "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                watching.cancel()
        except ExceptionGroup as errors:
            unexpected = errors.split(ClientGone)[1]
            if unexpected is not None:  # raise the error itself: Granian logs no errors within a group
                raise unexpected.exceptions[0] from None


@router.get(
    "/events", operation_id="followEvents", response_class=Response, responses={200: _STREAM, **responses("overloaded")}
)
async def events(
    request: Request,
    _: EventsReadDep,
    resources: ResourcesDep,
    last_event_id: Annotated[Uuid | None, Header(description="resume after this event")] = None,
) -> EventStream:
    """Follow one's own calculations live (an admin: everyone's). `Last-Event-ID` resumes without a gap."""
    identify = partial(caller_of, request.scope, resources, KeyScope.EVENTS_READ)
    try:
        after = id_of_text(last_event_id) if last_event_id else None
    except ValueError:
        detail = "Last-Event-ID must be the id of an event; leave it out to begin now."
        raise InvalidInput.of(FieldProblem("/last-event-id", detail)) from None
    following = resources.feed.subscribe(identify, after)
    return EventStream(await anext(following), following)
