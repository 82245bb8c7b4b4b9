"""Clients of the tools of language models: the SDK's own, on the service within the test's process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

LEGACY, MODERN = "legacy", "2026-07-28"  # with the initialize handshake, and without


@asynccontextmanager
async def mcp_client(
    app: FastAPI, state: Mapping[str, Any], headers: Mapping[str, str], mode: Any = LEGACY
) -> AsyncIterator[Client]:
    """Connect the SDK's client to an application whose lifespan has produced that state."""

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
    """Return the text of a tool's answer."""
    first = answer.content[0]
    assert isinstance(first, TextContent)
    return first.text


async def value_of(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool and return the members of its answer; fail for an error of the tool."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, text_of(answer)
    return answer.structured_content


async def error_of(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool and return the sentences of its error."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, text_of(answer)
    return text_of(answer)
