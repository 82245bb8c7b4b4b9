"""What a server process and its supervisor talk over: a pair of sockets, of which each holds an end (ADR 21)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

from structlog import get_logger

from pycalc.errors import Unavailable

TOTAL_SECONDS = 3.0
"""Within which a process has the service's metrics, or says that it has not."""
_log = get_logger(__name__)
_HEAD = struct.Struct("!cI")
_ASK, _TELL = b"?", b"="


async def _nothing() -> bytes:
    return b""


class SupervisorChannel:
    """One end of a socket over which each side asks the other for an exposition, one question at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: Callable[[], object]) -> None:
        self.respond: Callable[[], Awaitable[bytes]] = _nothing
        """Returns what the other side is told."""
        self._reader = reader
        self._writer = writer
        self._told: asyncio.Future[bytes | None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._serving = asyncio.create_task(self._serve(gone), name="metrics of all processes")

    @classmethod
    async def open(cls, end: socket.socket, gone: Callable[[], object]) -> SupervisorChannel:
        """Return the channel that begins at one end of a pair of sockets; ``gone`` is called when the other is closed."""
        end.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=end), gone)

    async def aclose(self) -> None:
        """Close this end."""
        tasks = [task for task in (self._serving, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def request(self, seconds: float = TOTAL_SECONDS) -> bytes:
        """Return what the other side tells; who asks while a question is under way gets its answer.

        Raises Unavailable when there is none within ``seconds``, or nobody at the other end.
        """
        if self._told is None or self._told.done():
            self._told = asyncio.get_running_loop().create_future()
            self._send(_ASK, b"")
        with suppress(TimeoutError):
            told = None if self._serving.done() else await asyncio.wait_for(asyncio.shield(self._told), seconds)
            if told is not None:
                return told
        raise Unavailable("Another process of this service does not tell its metrics.")

    async def _serve(self, gone: Callable[[], object]) -> None:
        """Answer, and hear answers, until the other end is closed."""
        try:
            while True:
                kind, size = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
                body = await self._reader.readexactly(size)
                if kind == _ASK:
                    self._telling = asyncio.create_task(self._tell())
                elif self._told is not None and not self._told.done():
                    self._told.set_result(body)
        except (asyncio.IncompleteReadError, OSError):
            gone()
        finally:
            if self._told is not None and not self._told.done():
                self._told.set_result(None)
            self._writer.close()

    async def _tell(self) -> None:
        """Answer in any case: who has asked asks nothing else until then."""
        try:
            told = await self.respond()
        except Exception:
            _log.exception("the metrics could not be told")
            told = b""
        self._send(_TELL, told)

    def _send(self, kind: bytes, body: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(_HEAD.pack(kind, len(body)) + body)
