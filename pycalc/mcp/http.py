"""The SDK's streamable HTTP transport for the tools. The first request to the endpoint imports this module."""

from __future__ import annotations

import logging

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from pycalc.mcp.backend import ToolBackend
from pycalc.mcp.endpoint import BACKEND
from pycalc.mcp.server import ToolServer


def session_manager(most_inline: int) -> StreamableHTTPSessionManager:
    """Return the SDK's handler of HTTP requests, without sessions and with answers in JSON."""

    def backend_of(context: object) -> ToolBackend:
        backend: ToolBackend = context.request.scope[BACKEND]  # type: ignore[attr-defined]
        return backend

    logging.getLogger("mcp").setLevel(logging.WARNING)  # it logs the end of every request
    server = ToolServer(backend_of, most_inline).server()
    server.middleware.clear()  # it records spans, but the request already has one
    return StreamableHTTPSessionManager(server, json_response=True, stateless=True)
