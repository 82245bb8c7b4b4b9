"""The channel between a server process and its supervisor: a socket pair for exchanging metrics (ADR 21)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

from structlog import get_logger

from pycalc.errors import Unavailable

_log = get_logger(__name__)
_HEADER = struct.Struct("!cI")  # the kind of a message, and the length of its body
_REQUEST, _RESPONSE = b"?", b"="


class SupervisorChannel:
    """One end of the channel. Each end may request the metrics of the other, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: Callable[[], object]) -> None:
        """Start to handle messages from the other end. ``gone`` is called when the other end is closed."""
        self.respond: Callable[[], Awaitable[bytes]] | None = None  # returns the metrics for the other end
        self.latest = b""  # the other end's latest metrics
        self._reader = reader
        self._writer = writer
        self._response: asyncio.Future[bytes | None] | None = None
        self._responding: asyncio.Task[None] | None = None
        self._serving = asyncio.create_task(self._serve(gone), name="supervisor channel")

    @classmethod
    async def open(cls, end: socket.socket, gone: Callable[[], object]) -> SupervisorChannel:
        """Open the channel on one socket of a pair. ``gone`` is called when the other end is closed."""
        end.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=end), gone)

    async def aclose(self) -> None:
        """Close this end."""
        tasks = [task for task in (self._serving, self._responding) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def request(self, seconds: float = 3.0) -> bytes:
        """Return the metrics of the other end in Prometheus' text format. Concurrent callers share one request.

        Raises Unavailable without a response in ``seconds``, or if the other end is closed or can't render its metrics.
        """
        if self._response is None or self._response.done():
            self._response = asyncio.get_running_loop().create_future()
            self._send(_REQUEST, b"")
        with suppress(TimeoutError):
            response = None if self._serving.done() else await asyncio.wait_for(asyncio.shield(self._response), seconds)
            if response:  # an empty one says that there are no metrics
                return response
        raise Unavailable("Another process of this service does not report its metrics; retry in 1 s.")

    async def _serve(self, gone: Callable[[], object]) -> None:
        try:
            while True:
                kind, size = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
                body = await self._reader.readexactly(size)
                if kind == _REQUEST:
                    self._responding = asyncio.create_task(self._respond())
                    continue
                self.latest = body or self.latest
                if self._response is not None and not self._response.done():
                    self._response.set_result(body)
        except (asyncio.IncompleteReadError, OSError):
            gone()
        finally:
            if self._response is not None and not self._response.done():
                self._response.set_result(None)
            self._writer.close()

    async def _respond(self) -> None:
        try:
            body = b"" if self.respond is None else await self.respond()
        except Exception:
            _log.exception("the metrics could not be rendered")
            body = b""
        self._send(_RESPONSE, body)

    def _send(self, kind: bytes, body: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(_HEADER.pack(kind, len(body)) + body)
