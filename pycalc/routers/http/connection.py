"""Connections of clients: detection of disconnects during a request, and limits on a body's size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import uniform
from typing import Any, TypeVar

from starlette.types import Message, Receive, Scope
from structlog import get_logger

from pycalc.errors import BadRequest, PayloadTooLarge, RequestTimeout
from pycalc.observability.requests import header
from pycalc.routers.http.deps import route_of

T = TypeVar("T")
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., object])

MAX_BODY_BYTES = 8 * 1024  # for routes that set no limit with ``max_body``
# A body may take BODY_SECONDS, and one second more for every BODY_BYTES_A_SECOND bytes received.
BODY_SECONDS = 10.0
BODY_BYTES_A_SECOND = 16_384
BODY_BROKEN = "The body ended early, or its framing is not valid HTTP: send the request again."
BODY_TOO_SLOW = (
    "The body arrived too slowly: "
    f"send it within {BODY_SECONDS:g} s, plus 1 s for every {BODY_BYTES_A_SECOND // 1024} KiB."
)
_LENGTH_DIGITS = len(str(2**64))  # of a Content-Length
# A body trickles when its parts are small and arrive with delays. After _GRACE_SECONDS such a body is read only at
# random intervals, so that thousands of them cost the event loop little and are not read at the same moment.
_SMALL_PART_BYTES = 1_024
_NO_WAIT_SECONDS = 0.01  # a part that arrives within this time counts as sent without a delay
_GRACE_SECONDS = 1.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 1.5

body_limits: dict[object, int] = {}  # by endpoint, from ``max_body``; these endpoints read the body themselves
_log = get_logger(__name__)


class ClientGone(Exception):
    """The client disconnected before its response was complete, so the work was cancelled."""


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Client:
    """A detector of the client's disconnect during one request, until the end of its ``with`` statement.

    A single task calls ``receive``: after a cancelled call, Granian reports a disconnect only at the next call.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone: asyncio.Task[None] | None = None

    def __enter__(self) -> Client:
        return self

    async def while_there(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of ``work``. If the client disconnects first, cancel ``work`` and raise ClientGone."""
        working = asyncio.ensure_future(work)
        # Retrieve an error that follows the cancellation, so that asyncio does not log it.
        working.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._gone is None:
            self._gone = asyncio.ensure_future(disconnected(self._receive))
        try:
            await asyncio.wait({working, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientGone
            return working.result()
        finally:
            working.cancel()

    def __exit__(self, *_: object) -> None:
        if self._gone is not None:
            self._gone.cancel()


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``. If the client disconnects first, cancel ``work`` and raise ClientGone."""
    with Client(receive) as client:
        return await client.while_there(work)


def max_body(size: int) -> Callable[[_Endpoint], _Endpoint]:
    """Return a decorator for an endpoint that accepts JSON of up to ``size`` bytes instead of MAX_BODY_BYTES.

    The endpoint must read the body itself, after it has checked the caller's limits.
    """

    def declare(endpoint: _Endpoint) -> _Endpoint:
        body_limits[endpoint] = size
        return endpoint

    return declare


def body_too_large(limit: int) -> PayloadTooLarge:
    """Return the error of a body that has more than ``limit`` bytes, the maximum of its route."""
    return PayloadTooLarge(f"The body is too large: this route accepts up to {limit:,} bytes.", limit)


class RequestBody:
    """A request's ``receive`` that limits the size and time of the body. The body of a GET is not limited.

    A call raises PayloadTooLarge, BadRequest for a body that ends early, or RequestTimeout.
    """

    def __init__(self, scope: Scope, receive: Receive, seconds: float = BODY_SECONDS) -> None:
        """Limit the time to ``seconds``, and 1 s more for every BODY_BYTES_A_SECOND bytes."""
        self._scope = scope
        self._receive = receive
        self._clock = asyncio.get_running_loop().time
        self._grace_until = self._clock() + _GRACE_SECONDS
        self._deadline = self._clock() + seconds
        self._size = 0
        self._whole = scope["method"] == "GET"  # nothing reads the body of a GET (RFC 9110 §9.3.1)
        self._trickles = False
        self.broken = False  # the client disconnected early or framed the body wrongly; Granian does not tell which

    async def __call__(self) -> Message:
        """Return the next ASGI message."""
        if self._whole:
            return await self._receive()
        limit, declared = _limit_and_length(self._scope)
        if declared is not None and declared > limit:  # the received bytes are counted below in any case
            raise body_too_large(limit)
        if self._trickles and self._clock() > self._grace_until:
            pause = uniform(_SHORTEST_PAUSE, _LONGEST_PAUSE)  # noqa: S311  # no secret
            left = self._deadline - _NO_WAIT_SECONDS - self._clock()  # leaves time for a last read
            await asyncio.sleep(min(pause, left))
        began = self._clock()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeout(BODY_TOO_SLOW) from None
        if message["type"] == "http.disconnect":
            self.broken = True
            _log.info("request body ended early", route=route_of(self._scope))
            raise BadRequest(BODY_BROKEN)
        size = len(message.get("body", b""))
        self._trickles = size < _SMALL_PART_BYTES and self._clock() - began > _NO_WAIT_SECONDS
        self._deadline += size / BODY_BYTES_A_SECOND
        self._size += size
        if self._size > limit:
            raise body_too_large(limit)
        self._whole = not message.get("more_body", False)
        return message


def most_bytes_of_body(scope: Scope) -> int:
    """Return the most bytes that a request's body can have: its Content-Length if valid, but at most its limit."""
    limit, declared = _limit_and_length(scope)
    return limit if declared is None else min(declared, limit)


def _limit_and_length(scope: Scope) -> tuple[int, int | None]:
    """Return the limit of a request's route, and the Content-Length, or None if it is missing or invalid."""
    declared = header(scope, b"content-length") or b""
    # HTTP servers refuse lengths of 2^64 and more, but not leading zeros, and ``int`` refuses more than 4,300 digits.
    length = int(declared[-_LENGTH_DIGITS:]) if declared.isdigit() else None
    return body_limits.get(scope.get("endpoint"), MAX_BODY_BYTES), length
