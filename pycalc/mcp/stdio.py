"""The tools over standard input and output, for a program that starts this process."""

from __future__ import annotations

from mcp.server.stdio import stdio_server

from pycalc.mcp.backend import ToolBackend
from pycalc.mcp.server import ToolServer


async def serve(backend: ToolBackend, most_inline: int) -> None:
    """Answer the protocol's messages on standard input until it ends, and call the tools on ``backend``.

    An answer has up to ``most_inline`` digits of a result.
    """
    server = ToolServer(lambda _context: backend, most_inline).server()
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
