"""The server of the Model Context Protocol, which lists the tools and lets a ToolBackend execute each tool call."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from mcp import MCPError, types
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Receive, Scope, Send
from structlog import get_logger

from pycalc import __version__
from pycalc.errors import PycalcError
from pycalc.mcp.arguments import batch_of, literals, range_of
from pycalc.mcp.backend import BACKEND, BATCH, DIGITS, HISTORY, ToolBackend
from pycalc.mcp.results import answer, calculated, described, sentence_of
from pycalc.mcp.tools import INSTRUCTIONS, make_tools
from pycalc.services.calculations.requests import named_request

_log = get_logger(__name__)

_Context = ServerRequestContext[Any]
_Page = types.PaginatedRequestParams | None
_URI = re.compile(
    r"pycalc://calculations/(?P<id>[0-9a-fA-F-]{36})/digits"
    r"(?:\?start=(?P<start>[0-9]{1,12})&count=(?P<count>[0-9]{1,12}))?"
)
_TEMPLATE = types.ResourceTemplate(
    uri_template="pycalc://calculations/{id}/digits{?start,count}",
    name="digits",
    description="A part of the result of an earlier calculation.",
    mime_type="text/plain",
)


class ToolServer:
    """The handlers of the protocol's requests."""

    def __init__(self, backend_of: Callable[[_Context], ToolBackend], most_inline: int) -> None:
        """Let the ToolBackend of each call execute it. An answer has up to ``most_inline`` digits of a result."""
        self._backend_of = backend_of
        self._most_inline = most_inline
        self._tools = make_tools(most_inline)
        self.server: Server[Any] = Server(
            "pycalc",
            version=__version__,
            title="pycalc: exact arithmetic",
            instructions=INSTRUCTIONS,
            # No tool takes arguments from header fields, so no schema needs to be looked up for them.
            get_tool_input_schema=lambda _name: None,
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read,
        )

    async def _list(self, context: _Context, _page: _Page) -> types.ListToolsResult:
        backend = self._backend_of(context)
        try:
            offers = await backend.offers()
        except PycalcError as error:
            backend.report(error)
            raise MCPError(types.INTERNAL_ERROR, sentence_of(error)) from None
        return types.ListToolsResult(tools=[tool for name, tool in self._tools.items() if offers(name)])

    async def _call(self, context: _Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in self._tools:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name[:64]!r}: tools/list names them.")
        backend, arguments, most = self._backend_of(context), params.arguments or {}, self._most_inline
        try:
            if params.name == BATCH:
                found = await backend.batch(batch_of(arguments), most)
                return answer({"results": [described(each) for each in found]})
            if params.name == DIGITS:
                return answer((await backend.digits(*range_of(arguments, most)))._asdict())
            if params.name == HISTORY:
                return answer(await backend.history(arguments))
            request = named_request(params.name, literals("", arguments))
            return calculated(await backend.calculate(request, most), most)
        except PycalcError as error:
            backend.report(error)
            sentence = sentence_of(error)
        except Exception as error:  # the SDK would send the exception's text to the client
            _log.error("unexpected error", tool=params.name, exc_info=error)
            sentence = sentence_of(PycalcError("unexpected"))
        return types.CallToolResult(content=[types.TextContent(type="text", text=sentence)], is_error=True)

    async def _list_resources(self, _context: _Context, _page: _Page) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[])  # there may be millions; each calculation links its own result

    async def _list_templates(self, _context: _Context, _page: _Page) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=[_TEMPLATE])

    async def _read(self, context: _Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        matched = _URI.fullmatch(str(params.uri))
        if matched is None:
            raise MCPError(types.INVALID_PARAMS, f"A resource is of the form {_TEMPLATE.uri_template}.")
        backend = self._backend_of(context)
        try:
            part = await backend.digits(*range_of(matched.groupdict(), self._most_inline))
        except PycalcError as error:
            backend.report(error)
            raise MCPError(types.INVALID_PARAMS, sentence_of(error)) from None
        content = types.TextResourceContents(uri=params.uri, mime_type="text/plain", text=part.text)
        return types.ReadResourceResult(contents=[content])


@cache
def _http_server(most_inline: int) -> Server[Any]:
    logging.getLogger("mcp").setLevel(logging.WARNING)  # it logs the end of every request
    server = ToolServer(lambda context: context.request.scope[BACKEND], most_inline).server  # type: ignore[union-attr]
    server.middleware.clear()  # it records spans, but the request already has one
    return server


async def answer_http(most_inline: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request in JSON, without a session. Its scope must have a ToolBackend under the key BACKEND.

    When this returns or is cancelled, all its tasks have ended. Raises the errors of ``send``.
    """
    manager = StreamableHTTPSessionManager(_http_server(most_inline), json_response=True, stateless=True)
    try:
        async with manager.run():
            await manager.handle_request(scope, receive, send)
    except ExceptionGroup as errors:  # of the manager's task group
        raise errors.exceptions[0] from None


async def serve_stdio(backend: ToolBackend, most_inline: int) -> None:
    """Answer the protocol's messages on standard input until it ends. ``backend`` executes the tool calls."""
    server = ToolServer(lambda _context: backend, most_inline).server
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
