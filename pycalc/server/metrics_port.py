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
from pycalc.routers.http.compression import compressed
from pycalc.services.limits.client_address import address

_CONNECTIONS = 32
"""More at once are ended: they must not take the descriptors of the service."""
_READ_SECONDS = 5.0
_WRITE_SECONDS = 10.0
_ACCEPTED = b"accept-encoding:"

Exposition = Callable[[], Awaitable[bytes]]
"""Returns what is exported; raises Unavailable."""


@asynccontextmanager
async def metrics_served(host: str, port: int, exposition: Exposition, setting: str) -> AsyncIterator[None]:
    """Answer ``GET /metrics`` on a port; raises OSError, which names the setting, when that is taken."""
    slots = asyncio.Semaphore(_CONNECTIONS)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if slots.locked():
            writer.transport.abort()
            return
        await slots.acquire()
        try:
            with suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(_READ_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _answer(head, exposition))
                writer.close()  # when all of it is sent
                async with asyncio.timeout(_WRITE_SECONDS):
                    await writer.wait_closed()
        finally:
            writer.transport.abort()
            slots.release()

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


async def _answer(head: bytes, exposition: Exposition) -> bytes:
    """Return the whole answer to a request, whose head was read; raises ValueError for what is none."""
    request_line, *lines = head.split(b"\r\n")
    method, path, _version = request_line.split(b" ")
    fields = {"Content-Type": "text/plain", "Connection": "close"}
    status, body = "404 Not Found", b"The metrics are at /metrics.\n"
    if method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", b"Ask by GET or HEAD.\n"
        fields["Allow"] = "GET, HEAD"
    elif path.partition(b"?")[0] == b"/metrics":
        accepted = b",".join(line[len(_ACCEPTED) :] for line in lines if line.lower().startswith(_ACCEPTED))
        try:
            status, (body, coded) = "200 OK", await compressed(await exposition(), accepted.decode("latin-1"))
            fields |= {"Content-Type": CONTENT_TYPE, **coded}
        except Unavailable as error:
            status, body = "503 Service Unavailable", f"{error.detail}\n".encode()
    fields["Content-Length"] = str(len(body))
    answer = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(answer).encode() + (b"" if method == b"HEAD" else body)
