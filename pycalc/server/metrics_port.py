"""A minimal HTTP server for the metrics on a port of their own, for processes that do not import the web server too."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from pycalc.errors import Unavailable
from pycalc.observability.metrics import CONTENT_TYPE
from pycalc.routers.http.compression import compressed
from pycalc.urls import authority

_MAX_CONNECTIONS = 32  # more would take file descriptors from the service
_READ_SECONDS = 5.0
_ACCEPT_ENCODING = b"accept-encoding:"


@asynccontextmanager
async def metrics_served(
    host: str,
    port: int | None,
    exposition: Callable[[], Awaitable[bytes]],
    setting: str = "PYCALC_METRICS_PORT",
    write_seconds: float = 10.0,
) -> AsyncIterator[None]:
    """Return a context in which ``GET /metrics`` is served on a port, if any, to at most 32 clients at a time.

    ``exposition`` must return the body of the response, or raise Unavailable. A client has ``write_seconds`` to read
    it. If the port can't be bound, the OSError names ``setting``.
    """
    if port is None:
        yield
        return
    slots = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if slots.locked():
            writer.transport.abort()
            return
        await slots.acquire()
        try:
            with suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _READ_SECONDS)
                writer.write(await _response(head, exposition))
                writer.close()  # after the response is sent
                await asyncio.wait_for(writer.wait_closed(), write_seconds)
        finally:
            writer.transport.abort()
            slots.release()

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        # ``create_server`` appends the address, and its error for an unknown host is an OSError, not a gaierror.
        reason = (error.strerror or str(error)).partition(" (while attempting")[0]
        raise OSError(f"can't serve metrics on {authority(host, port)}: {reason}; see {setting}") from error
    server = await asyncio.start_server(answer, sock=listener)
    try:
        yield
    finally:
        server.close()  # without waiting for slow readers


async def _response(head: bytes, exposition: Callable[[], Awaitable[bytes]]) -> bytes:
    """Return the whole response to a request with this head. Raises ValueError for a malformed request line."""
    request_line, *lines = head.split(b"\r\n")
    method, path, _version = request_line.split(b" ")
    fields = {"Content-Type": "text/plain", "Connection": "close"}
    status, body = "404 Not Found", b"The metrics are at /metrics.\n"
    if method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", b"Ask by GET or HEAD.\n"
        fields["Allow"] = "GET, HEAD"
    elif path.partition(b"?")[0] == b"/metrics":
        codings = [line[len(_ACCEPT_ENCODING) :] for line in lines if line.lower().startswith(_ACCEPT_ENCODING)]
        try:
            status, (body, coded) = "200 OK", await compressed(await exposition(), b",".join(codings).decode("latin-1"))
            fields |= {"Content-Type": CONTENT_TYPE, **coded}
        except Unavailable as error:
            status, body = "503 Service Unavailable", f"{error.detail}\n".encode()
    fields["Content-Length"] = str(len(body))
    answer = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(answer).encode() + (b"" if method == b"HEAD" else body)
