"""A client of the service's MCP endpoint: the MCP SDK's own client, connected within the test's process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

LEGACY, MODERN = "legacy", "2026-07-28"  # versions of the protocol: with the initialize handshake, and without


@asynccontextmanager
async def mcp_client(
    app: FastAPI, state: Mapping[str, Any], headers: Mapping[str, str], mode: Any = LEGACY
) -> AsyncIterator[Client]:
    """Connect the SDK's client to an application; ``state`` is the result of its lifespan."""

    async def entry(scope: dict[str, object], receive: object, send: object) -> None:
        scope["state"] = state
        await app(scope, receive, send)  # type: ignore[arg-type]

    transport = httpx2.ASGITransport(app=entry)  # type: ignore[arg-type]
    async with (
        httpx2.AsyncClient(transport=transport, headers={**headers}, timeout=60) as http,
        Client(streamable_http_client("http://pycalc.test/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def text_of(answer: CallToolResult) -> str:
    """Return the text of a tool's result."""
    first = answer.content[0]
    assert isinstance(first, TextContent)
    return first.text


async def value_of(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool and return its structured result; fail if the tool reports an error."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, text_of(answer)
    return answer.structured_content


async def error_of(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must report an error, and return the error's text."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, text_of(answer)
    return text_of(answer)
