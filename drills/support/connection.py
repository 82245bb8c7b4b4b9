"""An HTTP/1.1 connection that shows exactly what was sent, what was received, and when.

HTTP libraries retry, pool connections and time out by themselves, which would hide faults from a drill.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from time import perf_counter
from typing import NamedTuple, cast

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)


class Answer(NamedTuple):
    """A complete HTTP response."""

    status: int
    head: bytes
    body: bytes
    # Seconds from sending the request to the last byte of the answer.
    seconds: float

    def field(self, name: str) -> str | None:
        """Return the value of a header field, or None if the answer does not have it."""
        found = re.search(rf"\r\n{name}: ([^\r]*)\r\n".encode(), self.head, re.IGNORECASE)
        return found[1].decode() if found else None


class Unanswered(Exception):
    """The connection ended before the answer was complete; ``received`` holds the partial answer."""

    def __init__(self, received: bytes) -> None:
        super().__init__(received)
        self.received = received


def request(path: str, headers: Mapping[str, str], method: str = "GET", body: bytes = b"") -> bytes:
    """Return the bytes of an HTTP request."""
    fields = {"Host": "127.0.0.1", **headers, **({"Content-Length": str(len(body))} if body else {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """A persistent connection for one request at a time; answers must declare their length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        # False when the server has closed the connection, or has announced that it will.
        self.usable = True

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a port of 127.0.0.1; raises OSError."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def ask(self, sent: bytes) -> Answer:
        """Send a request and return its answer; raises Unanswered, and ValueError for an answer without a length."""
        assert self._transport is not None  # noqa: S101  # open() has connected it
        self._received.clear()
        started = perf_counter()
        if not self.usable:
            raise Unanswered(b"")
        self._transport.write(sent)
        while (whole := self._whole()) is None:
            if not self.usable:
                raise Unanswered(bytes(self._received))
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        head, body = whole
        if _CLOSE.search(head):
            self.close()
        return Answer(int(head[9:12]), head, body, perf_counter() - started)

    def close(self) -> None:
        """Close the connection."""
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    def _whole(self) -> tuple[bytes, bytes] | None:
        """Return the head and body of the answer, or None while it is incomplete."""
        end = self._received.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        head = bytes(self._received[:end])
        length = _LENGTH.search(head)
        if length is None:
            raise ValueError(f"an answer without a length: {head!r}")
        if len(self._received) < end + int(length[1]):
            return None
        return head, bytes(self._received[end:])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for sending."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect the bytes, and wake ``ask``, which checks whether the answer is complete."""
        self._received += data
        self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        """Wake ``ask``, so that an outstanding request fails."""
        self.usable = False
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
