"""Whether the client is still there, and sends what it announced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import uniform
from time import monotonic
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope
from structlog import get_logger

from pycalc.routers.http.deps import route_of

T = TypeVar("T")
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., object])

MAX_BODY_BYTES = 8 * 1024
"""The largest body that a route takes which declares no other limit; see ``max_body``."""

BODY_SECONDS = 10.0
_BODY_BYTES_A_SECOND = 16_384
"""A body may take so many seconds, and one more for each so many bytes that have come."""
_CRUMB_BYTES = 1_024
_AT_ONCE_SECONDS = 0.01
_BRISK_SECONDS = 1.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 1.5
"""A body that takes longer and whose small parts have to be waited for is looked at so often, each at its own times."""

_max_bodies: dict[object, int] = {}
"""The limits that endpoints declare."""
_log = get_logger(__name__)


class ClientGone(Exception):
    """The client hung up before its answer was ready; there is nobody to tell."""


class Client:
    """Whether a client is still there, which is asked of the server once for all that is done for it.

    Granian, asked again after its first question was cancelled unanswered, says that the client has hung up.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone: asyncio.Task[None] | None = None

    async def while_there(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work returns; cancel it and raise ClientGone when the client hangs up before."""
        working = asyncio.ensure_future(work)
        if self._gone is None:
            self._gone = asyncio.ensure_future(_disconnected(self._receive))
        try:
            await asyncio.wait({working, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientGone
            return working.result()
        finally:
            working.cancel()

    def let_go(self) -> None:
        """Ask no more."""
        if self._gone is not None:
            self._gone.cancel()


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns; cancel it and raise ClientGone when the client hangs up before."""
    client = Client(receive)
    try:
        return await client.while_there(work)
    finally:
        client.let_go()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def max_body(size: int) -> Callable[[_Endpoint], _Endpoint]:
    """Return a decorator for an endpoint that takes bodies of up to ``size`` bytes instead of MAX_BODY_BYTES.

    Such an endpoint reads the body itself, after it has authenticated the caller and checked the limits.
    """

    def declare(endpoint: _Endpoint) -> _Endpoint:
        _max_bodies[endpoint] = size
        return endpoint

    return declare


class BodyTooLarge(HTTPException):
    """The body is larger than ``limit`` bytes, the most that its route takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(413)
        self.limit = limit


class BodyBroken(HTTPException):
    """The body broke off, or its framing is not valid."""

    def __init__(self) -> None:
        super().__init__(400)


class RequestBody:
    """A request's ``receive`` that bounds its body in size and time.

    It raises BodyTooLarge, BodyBroken, and HTTPException 408 for a body that comes too slowly: the framework passes on
    these and no others. After the body it just waits.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        seconds: float = BODY_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``seconds``: how long the first bytes may take; ``clock`` returns seconds."""
        self._scope = scope
        self._receive = receive
        self._clock = clock
        self._brisk_until = self._clock() + _BRISK_SECONDS
        self._deadline = self._clock() + seconds
        self._size = 0
        self._whole = scope["method"] == "GET"  # has no body that anything reads (RFC 9110 §9.3.1)
        self._trickles = False
        self.broken = False
        """Whether the client hung up before the end, or framed the body wrongly; Granian does not say which."""

    async def __call__(self) -> Message:
        """Return the next message; see ASGI."""
        if self._whole:
            return await self._receive()
        limit = _max_bodies.get(self._scope.get("endpoint"), MAX_BODY_BYTES)
        if _declared_length(self._scope) > limit:
            raise BodyTooLarge(limit)
        message = await self._next()
        if message["type"] == "http.disconnect":
            self.broken = True
            _log.info("a request's body broke off", route=route_of(self._scope))
            raise BodyBroken
        self._size += len(message.get("body", b""))
        if self._size > limit:
            raise BodyTooLarge(limit)
        self._whole = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        """Return the next message, not sooner than a body that trickles is to be looked at; in time."""
        if self._trickles and self._clock() > self._brisk_until:
            pause = uniform(_SHORTEST_PAUSE, _LONGEST_PAUSE)  # noqa: S311  # no secret
            left = self._deadline - _AT_ONCE_SECONDS - self._clock()  # to look once more in the end
            await asyncio.sleep(min(pause, left))
        asked = self._clock()
        try:
            async with asyncio.timeout(max(0.0, self._deadline - asked)):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408) from None
        size = len(message.get("body", b""))
        self._trickles = size < _CRUMB_BYTES and self._clock() - asked > _AT_ONCE_SECONDS
        self._deadline += size / _BODY_BYTES_A_SECOND
        return message


def _declared_length(scope: Scope) -> int:
    """Return the body's Content-Length, 0 where there is none: then the bytes are counted as they come."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(declared) if declared.isdigit() else 0
