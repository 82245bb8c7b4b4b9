"""Live events, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.events import Event
from pycalc.models.ids import id_of_text, text_of_id
from pycalc.resources import Resources
from pycalc.routers.deps import CallerDep, ResourcesDep
from pycalc.routers.problems import responses

HEARTBEAT_SECONDS = 15.0
_STREAM = {
    "description": "Server-sent events: `id` is the event's id, `data` a CloudEvents 1.0 JSON object.",
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": 'id: 019aab12-7c00-7123-8456-426614174000\ndata: {"specversion":"1.0","id":"019aab12-..."}\n\n',
        }
    },
}

router = APIRouter(tags=["history"])


def _resume_from(last_event_id: str | None) -> bytes | None:
    if not last_event_id:
        return None
    try:
        return id_of_text(last_event_id)
    except ValueError:
        raise InvalidInput(
            "Last-Event-ID is not the id of an event.", (FieldProblem("/last-event-id", "not an event's id"),)
        ) from None


def _encode(event: Event) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (text_of_id(event.id).encode(), event.payload)


async def _body(resources: Resources, events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    """Yield the stream's bytes: events, and a comment when nothing happens; ends when the service stops."""
    yield b": connected\n\n"
    stopping = asyncio.ensure_future(resources.stopping.wait())
    async with aclosing(events):  # type: ignore[type-var]  # an async generator
        upcoming = asyncio.ensure_future(anext(events))
        try:
            while not stopping.done():
                await asyncio.wait({upcoming, stopping}, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not upcoming.done():
                    yield b": heartbeat\n\n"
                    continue
                try:
                    event = upcoming.result()
                except StopAsyncIteration:
                    return
                upcoming = asyncio.ensure_future(anext(events))
                yield _encode(event)
        finally:
            stopping.cancel()
            upcoming.cancel()
            await asyncio.wait({upcoming})


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: _STREAM, **responses("validation-error", "unauthorized", "unavailable")},
)
async def events(
    caller: CallerDep,
    resources: ResourcesDep,
    last_event_id: Annotated[str | None, Header(description="resume after this event")] = None,
) -> StreamingResponse:
    """Follow one's own calculations live (an admin: everyone's). `Last-Event-ID` resumes without a gap."""
    following = resources.feed.follow(caller, _resume_from(last_event_id))
    return StreamingResponse(
        _body(resources, following),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
