"""The endpoint's life within a server process: the SDK is imported and started by its first request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from starlette.types import Receive, Scope, Send

from pycalc.errors import NotFound

BACKEND = "pycalc.mcp.backend"  # the key of a scope under which a request has its backend
_Handle = Callable[[Scope, Receive, Send], Awaitable[None]]


class McpEndpoint:
    """The protocol's endpoint, without sessions: each request is answered by itself, in JSON."""

    def __init__(self, most_inline: int, public_url: str | None, origins: Sequence[str]) -> None:
        """Send up to ``most_inline`` digits of a result.

        ``public_url`` is the service's URL for the metadata of RFC 9728; None: no metadata. Pages of ``origins`` may
        call the endpoint, besides the service's own.
        """
        self.public_url = public_url
        self.origins = origins
        self._most_inline = most_inline
        self._handle: asyncio.Future[_Handle] | None = None
        self._running: asyncio.Task[None] | None = None

    def require_installed(self) -> None:
        """Raise NotFound where the extra ``mcp`` is not installed."""
        if self._handle is None and find_spec("mcp") is None:
            raise NotFound("This server has no MCP endpoint: its operator can install the extra pycalc-service[mcp].")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the SDK; its scope has the backend. The first call imports the SDK in a thread."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._handle))
        answer = await asyncio.shield(self._handle)
        await answer(scope, receive, send)

    async def _run(self, started: asyncio.Future[_Handle]) -> None:
        """Run the SDK's session manager until the task is cancelled."""
        try:
            http: Any = await asyncio.to_thread(import_module, "pycalc.mcp.http")
            manager = http.session_manager(self._most_inline)
        except BaseException as error:
            self._handle = None  # the next request tries again
            started.set_exception(error if isinstance(error, Exception) else RuntimeError("the service is ending"))
            started.exception()  # every request that waits raises it; none may wait
            raise
        async with manager.run():
            started.set_result(manager.handle_request)
            await asyncio.get_running_loop().create_future()

    async def aclose(self) -> None:
        """Stop the session manager, if it runs."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
