"""Sending of responses, with a limit on the memory of all responses and on the time that a client may take to read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from fastapi import Request, Response
from starlette.types import Message, Receive, Scope, Send

from pycalc.errors import Overloaded
from pycalc.observability.requests import context_of
from pycalc.routers.http.deps import key_of, resources_of
from pycalc.routers.http.headers import with_default_headers
from pycalc.routers.http.problems import response_to
from pycalc.services.limits.concurrency import UNCOUNTED_BYTES, ReadingSpeed

# Long responses go to the HTTP server in parts of this size, so that the server buffers only a few parts.
PART_BYTES = 32 * 1024


class ClientTooSlow(Exception):
    """The client reads a response too slowly, so the rest is not sent and the connection is closed."""


def in_time(send: Send, reading_speed: ReadingSpeed) -> Send:
    """Return a ``send`` that raises ClientTooSlow if the client reads a response's parts too slowly.

    The client may take ``reading_speed.seconds``, and one second more for every ``reading_speed.rate`` bytes. Only
    waits for the client count. While there is nothing to send, its time grows again, up to ``reading_speed.seconds``.
    """
    left, ended = reading_speed.seconds, monotonic()

    async def send_in_time(message: Message) -> None:
        nonlocal left, ended
        began = monotonic()
        left = min(reading_speed.seconds, left + began - ended)
        try:
            async with asyncio.timeout(left):
                await send(message)
        except TimeoutError:
            raise ClientTooSlow from None
        ended = monotonic()
        left = min(reading_speed.seconds, left + len(message.get("body", b"")) / reading_speed.rate - (ended - began))
        if left <= 0:
            raise ClientTooSlow

    return send_in_time


class DeferredResponse(Response):
    """A response that an ASGI function sends, after the endpoint has returned."""

    def __init__(self, respond: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]) -> None:
        super().__init__()
        self._respond = respond

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        return self._respond(scope, receive, send)


class ResponseSender:
    """A ``send`` for the framework's responses, which adds header fields, limits memory, and cuts slow clients off.

    A body of more than UNCOUNTED_BYTES in one message counts towards the memory limit. Without room for it, a GET gets
    a 503 instead. Responses to other methods are always sent, because a 503 would say that nothing was done.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._send_in_time: Send | None = None
        self._head: Message | None = None
        self.status = 500

    async def __call__(self, message: Message) -> None:
        """Send an ASGI message. Keep the head until the first part of the body, because a 503 may replace both."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._head = {**message, "headers": with_default_headers(message.get("headers", ()))}
            return
        body: bytes = message.get("body", b"")
        if len(body) <= UNCOUNTED_BYTES or message.get("more_body"):
            await self._send_part(message)
            return
        resources, caller = resources_of(self._scope), context_of(self._scope).caller
        key = key_of(self._scope, resources) if caller is None else caller.user_id
        memory = resources.response_memory
        try:
            slot = (memory.acquire if self._scope["method"] == "GET" else memory.take)(key, len(body))
        except Overloaded as error:
            response = await response_to(Request(self._scope), error)
            self.status, self._head = response.status_code, None
            await response(self._scope, self._receive, self._send)
            return
        with slot:
            for start in range(0, len(body), PART_BYTES):
                part = body[start : start + PART_BYTES]
                await self._send_part({"type": "http.response.body", "body": part, "more_body": True})
            await self._send_part({"type": "http.response.body", "body": b""})

    async def _send_part(self, message: Message) -> None:
        """Send a part of the body, after the head if it is the first. Clients that get several parts are timed."""
        if self._head is not None:
            head, self._head = self._head, None
            await self._send(head)
        if message.get("more_body") and self._send_in_time is None:
            self._send_in_time = in_time(self._send, resources_of(self._scope).reading_speed)
        await (self._send_in_time or self._send)(message)
