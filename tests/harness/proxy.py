"""A TCP proxy that can cut connections, drop answers and delay them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """A proxy that forwards bytes, until a test makes it drop, delay or withhold them."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = 0
        # The server still receives the first request data that contain these bytes, but the connection is cut before
        # the client receives an answer.
        self.swallow_answers_to: bytes | None = None
        # The number of answers that were withheld in this way.
        self.swallowed = 0
        # Seconds by which each part of an answer is delayed.
        self.delay = 0.0
        # The parts of data that clients sent, as they arrived.
        self.received: list[bytes] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._vanished: set[asyncio.StreamWriter] = set()

    def vanish(self) -> None:
        """From now on forward nothing on the present connections, but keep them open, as if their host had vanished."""
        self._vanished |= self._writers

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, server_writer}
        cut = asyncio.Event()
        try:
            with suppress(OSError):
                await asyncio.gather(
                    self._requests(reader, server_writer, cut), self._answers(server_reader, writer, cut)
                )
        finally:
            self._writers -= {writer, server_writer}
            writer.close()
            server_writer.close()

    async def _requests(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if server in self._vanished:
                continue
            self.received.append(data)
            if self.swallow_answers_to is not None and self.swallow_answers_to in data:
                self.swallow_answers_to = None
                cut.set()
            server.write(data)
            await server.drain()
        server.close()

    async def _answers(self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        while data := await server.read(65536):
            if writer in self._vanished:
                continue
            if cut.is_set():
                self.swallowed += 1
                break
            if self.delay:
                await asyncio.sleep(self.delay)
            if writer.is_closing():
                break
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    """Run a proxy to a port of 127.0.0.1."""
    opened = Proxy(port)
    server = await asyncio.start_server(opened.accept, "127.0.0.1", 0)
    opened.port = server.sockets[0].getsockname()[1]
    try:
        yield opened
    finally:
        server.close()
        for writer in list(opened._writers):
            writer.transport.abort()
        await server.wait_closed()
