"""The routes of the Model Context Protocol: the endpoint, and its metadata for clients that have not signed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from pycalc.errors import Forbidden, NotFound, Unauthorized
from pycalc.mcp.endpoint import BACKEND, McpEndpoint
from pycalc.mcp.recorded import AnswerMemory, RecordedBackend
from pycalc.models.auth import KeyScope, Principal
from pycalc.observability.requests import context_of
from pycalc.routers.http.connection import max_body, while_connected
from pycalc.routers.http.deps import AnyCallerDep, resources_of
from pycalc.routers.http.headers import rate_limit_fields
from pycalc.routers.http.inputs import UNKNOWN_ORIGIN, StrictRoute
from pycalc.routers.http.problems import response_to
from pycalc.routers.http.sending import DeferredResponse
from pycalc.services.limits.concurrency import UNCOUNTED_BYTES

PATH = "/mcp"
METADATA = "/.well-known/oauth-protected-resource"
_MAX_BODY = UNCOUNTED_BYTES  # 1,000 short operations; longer operands go to POST /calculations
_PARSED_BYTES = 32  # memory for each byte of a message: the SDK parses and copies lists of thousands of empty lists


def _endpoint_of(request: Request) -> McpEndpoint:
    endpoint: McpEndpoint = request.scope["state"]["mcp"]
    return endpoint


class _McpRoute(StrictRoute):
    """The route of the endpoint. A response with status 401 names the URL of the endpoint's metadata."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that requires the SDK and an allowed Origin, and then calls StrictRoute's handler."""
        handle = super().get_route_handler()

        async def handle_mcp(request: Request) -> Response:
            endpoint = _endpoint_of(request)
            endpoint.require_installed()
            # The protocol requires this check against DNS rebinding. After a rebinding, Host and Origin are both the
            # attacker's, so an Origin that equals Host is not allowed either.
            origin = request.headers.get("origin")
            if origin is not None and origin not in endpoint.origins:
                raise Forbidden(UNKNOWN_ORIGIN)
            try:
                return await handle(request)
            except Unauthorized as error:
                response = await response_to(request, error)
                if endpoint.public_url is not None:  # RFC 9728 section 5.1
                    where = f'resource_metadata="{endpoint.public_url}{METADATA}{PATH}"'
                    response.headers["WWW-Authenticate"] += f", {where}"
                return response

        return handle_mcp


@max_body(_MAX_BODY)
async def mcp(request: Request, caller: AnyCallerDep) -> Response:
    """Answer one message of the Model Context Protocol (streamable HTTP, without sessions)."""
    return DeferredResponse(partial(_answer, _endpoint_of(request), caller, await request.body()))


# OpenAPI does not describe the protocol's messages; the message tools/list describes the tools.
router = APIRouter(route_class=StrictRoute, include_in_schema=False)
router.add_api_route(PATH, mcp, methods=["POST"], route_class_override=_McpRoute)


@router.get(METADATA)
@router.get(METADATA + PATH)
async def protected_resource(request: Request) -> Response:
    """Return the endpoint's metadata as a protected resource (RFC 9728). Raises NotFound without a public URL.

    No authorization server is named, because the service accepts only its own tokens and keys.
    """
    url = _endpoint_of(request).public_url
    if url is None:
        raise NotFound("There is no such path.")
    return JSONResponse(
        {
            "resource": url + PATH,
            "resource_name": "pycalc",
            "bearer_methods_supported": ["header"],
            "scopes_supported": [KeyScope.CALCULATE, KeyScope.HISTORY_READ],
            "resource_documentation": url + "/docs",
        }
    )


async def _answer(
    endpoint: McpEndpoint, caller: Principal, body: bytes, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let the SDK answer a message. If the client disconnects, stop the work.

    Raises ClientGone if the client disconnects, Overloaded without memory for the message, and Unavailable if the SDK
    does not start.
    """
    memory = AnswerMemory(resources_of(scope).response_memory, caller.user_id)
    unread = [body]

    async def receive_body() -> Message:
        if not unread:
            await asyncio.get_running_loop().create_future()  # ``while_connected`` learns of a disconnect
        return {"type": "http.request", "body": unread.pop(), "more_body": False}

    async def send_with_limits(message: Message) -> None:
        if message["type"] == "http.response.start":
            fields = rate_limit_fields(context_of(scope).limits)
            message = {**message, "headers": [*message["headers"], *fields]}
        else:
            memory.close()  # ``send`` counts the body itself
        await send(message)

    memory.reserve(_PARSED_BYTES * len(body))
    scope[BACKEND] = RecordedBackend(scope, caller, memory)
    try:
        await while_connected(receive, endpoint.handle(scope, receive_body, send_with_limits))
    finally:
        memory.close()
