"""Whether the client is still there, and sends what it announced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import uniform
from time import monotonic
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

T = TypeVar("T")

BODY_SECONDS = 10.0
_BODY_BYTES_A_SECOND = 16_384
"""A body may take so many seconds, and one more for each so many bytes that have come."""
_CRUMB_BYTES = 1_024
_AT_ONCE_SECONDS = 0.01
_BRISK_SECONDS = 1.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 1.5
"""A body that takes longer and whose small parts have to be waited for is looked at so often, each at its own times."""


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


def body_in_time(receive: Receive, seconds: float = BODY_SECONDS, clock: Callable[[], float] = monotonic) -> Receive:
    """Return a ``receive`` that raises HTTPException 408 when a body comes too slowly; after the body it just waits."""
    brisk_until = clock() + _BRISK_SECONDS
    deadline = clock() + seconds
    whole = trickles = False

    async def receive_in_time() -> Message:
        nonlocal deadline, whole, trickles
        if whole:
            return await receive()
        if trickles and clock() > brisk_until:
            pause = uniform(_SHORTEST_PAUSE, _LONGEST_PAUSE)  # noqa: S311  # no secret
            await asyncio.sleep(min(pause, deadline - _AT_ONCE_SECONDS - clock()))  # to look once more in the end
        asked = clock()
        try:
            async with asyncio.timeout(max(0.0, deadline - asked)):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        size = len(message.get("body", b""))
        trickles = size < _CRUMB_BYTES and clock() - asked > _AT_ONCE_SECONDS
        deadline += size / _BODY_BYTES_A_SECOND
        whole = not message.get("more_body", False)
        return message

    return receive_in_time
