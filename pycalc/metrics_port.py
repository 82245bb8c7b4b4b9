"""The metrics on a port of their own: for Prometheus, and for nobody who can reach only the service.

A few lines of HTTP, so that what serves no requests (relay, consumer) imports no web server.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from pycalc.errors import Unavailable
from pycalc.observability.metrics import CONTENT_TYPE
from pycalc.services.addresses import address

_READ_SECONDS = 5.0
_WRITE_SECONDS = 10.0

Exposition = Callable[[], Awaitable[bytes]]
"""Returns what is exported; raises Unavailable."""


@asynccontextmanager
async def metrics_served(host: str, port: int, exposition: Exposition, setting: str) -> AsyncIterator[None]:
    """Answer ``GET /metrics`` on a port; raises OSError, which names the setting, when that is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(_READ_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _answer(head.split(b" ", 2)[1], exposition))
                async with asyncio.timeout(_WRITE_SECONDS):
                    await writer.drain()
        finally:
            writer.close()

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise OSError(f"can't serve metrics on {address(host, port)}: {reason}; see {setting}") from error
    server = await asyncio.start_server(answer, sock=listener)
    try:
        yield
    finally:
        server.close()  # and wait for nobody who reads slowly


async def _answer(path: bytes, exposition: Exposition) -> bytes:
    """Return the whole answer to a request for a path."""
    status, content_type, body = "404 Not Found", "text/plain", b"The metrics are at /metrics.\n"
    if path.partition(b"?")[0] == b"/metrics":
        try:
            status, content_type, body = "200 OK", CONTENT_TYPE, await exposition()
        except Unavailable as error:
            status, body = "503 Service Unavailable", f"{error.detail}\n".encode()
    fields = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close"
    return f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode() + body
