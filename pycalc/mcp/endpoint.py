"""The MCP endpoint of a server process. The first request imports and starts the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from structlog import get_logger

from pycalc.errors import NotFound, Unavailable

BACKEND = "pycalc.mcp.backend"  # the key of a request's backend in its ASGI scope
_log = get_logger(__name__)


class McpEndpoint:
    """The MCP endpoint, without sessions: each request is answered independently, in JSON."""

    def __init__(self, most_inline: int, public_url: str | None, origins: Sequence[str]) -> None:
        """Prepare the endpoint. An answer contains up to ``most_inline`` digits of a result.

        ``public_url`` is the service's URL, or None to publish no metadata (RFC 9728). Only web pages of ``origins``
        may call the endpoint.
        """
        self.public_url = public_url
        self.origins = origins
        self._most_inline = most_inline
        self._handle: asyncio.Future[ASGIApp] | None = None
        self._running: asyncio.Task[None] | None = None

    def require_installed(self) -> None:
        """Raise NotFound if the extra ``mcp`` is not installed."""
        if self._handle is None and find_spec("mcp") is None:
            raise NotFound("This server has no MCP endpoint: its operator can install the extra pycalc-service[mcp].")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the SDK answer a request, whose scope must have a ToolBackend under the key BACKEND.

        The first call imports and starts the SDK. Raises Unavailable if this fails.
        """
        if self._handle is None:
            self._handle = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._handle))
        answer = await asyncio.shield(self._handle)
        await answer(scope, receive, send)

    async def _run(self, started: asyncio.Future[ASGIApp]) -> None:
        """Run the SDK's session manager until the task is cancelled, and set ``started`` to its request handler.

        If the manager does not start, set the exception Unavailable. If it fails, the next request starts a new one.
        """
        try:
            server: Any = await asyncio.to_thread(import_module, "pycalc.mcp.server")
            manager = server.session_manager(self._most_inline)
            async with manager.run():
                started.set_result(manager.handle_request)
                await asyncio.get_running_loop().create_future()
        except Exception as error:
            _log.error("the MCP endpoint failed", exc_info=error)
        finally:
            self._handle = None
            if not started.done():
                started.set_exception(Unavailable("The MCP endpoint did not start; retry in 1 s."))
                started.exception()  # asyncio logs an exception that nobody retrieves

    async def aclose(self) -> None:
        """Stop the session manager, if it runs."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
