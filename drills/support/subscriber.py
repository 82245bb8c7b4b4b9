"""A client of GET /events that reconnects after every interruption and resumes at its last event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_AGAIN_SECONDS = 0.05


@dataclass(slots=True)
class Subscriber:
    """A client of the event stream that keeps the ids of all events received so far."""

    port: int
    token: str
    # The id of the last event before the first one wanted; later the id of the newest event received.
    last_id: str
    received: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[None]:
        """Receive the events during the ``with`` block."""
        task = asyncio.create_task(self._receive())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _receive(self) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(
                        f"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
                        f"Last-Event-ID: {self.last_id}\r\n\r\n".encode()
                    )
                    await self._read(reader)
                finally:
                    writer.close()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Note the id of each complete event: lines ``id:`` and ``data:``, then an empty line.

        An id without data is not an event, but only a position in the stream.
        """
        identity, data = "", False
        while line := await reader.readline():
            if line.startswith(b"id: "):
                identity = line[4:].strip().decode()
            elif line.startswith(b"data: "):
                data = line.endswith(b"}\n")
            elif line == b"\n" and data:
                self.received.append(identity)
                self.last_id, data = identity, False
