"""The routes of the Model Context Protocol: the endpoint, and its metadata for clients that have not signed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from pycalc.errors import Forbidden, NotFound, Unauthorized
from pycalc.mcp.backend import BACKEND
from pycalc.mcp.recorded import RecordedBackend
from pycalc.models.auth import KeyScope, Principal
from pycalc.observability.requests import context_of
from pycalc.resources.wiring import Resources
from pycalc.routers.http.connection import max_body, while_connected
from pycalc.routers.http.deps import AnyCallerDep, ResourcesDep, resources_of
from pycalc.routers.http.headers import rate_limit_fields
from pycalc.routers.http.inputs import UNKNOWN_ORIGIN, StrictRoute
from pycalc.routers.http.problems import response_to
from pycalc.routers.http.sending import DeferredResponse
from pycalc.services.limits.concurrency import UNCOUNTED_BYTES

PATH = "/mcp"
METADATA = "/.well-known/oauth-protected-resource"
_MAX_BODY = UNCOUNTED_BYTES  # 1,000 short operations; longer operands go to POST /calculations
_PARSED_BYTES = 32  # memory for each byte of a message: the SDK parses and copies lists of thousands of empty lists


def _public_url(resources: Resources) -> str | None:
    """Return the service's URL, which is known where there is an identity provider."""
    sign_in = resources.provider_sign_in
    return None if sign_in is None else sign_in.provider.settings.redirect_url.removesuffix("/oidc/callback")


@cache
def _sdk() -> Any:
    """Import the SDK, which takes 0.6 s, and return the module ``server``."""
    return import_module("pycalc.mcp.server")


class _McpRoute(StrictRoute):
    """The route of the endpoint. A response with status 401 names the URL of the endpoint's metadata."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that requires the SDK and an allowed Origin, and then calls StrictRoute's handler."""
        handle = super().get_route_handler()

        async def handle_mcp(request: Request) -> Response:
            if not _sdk.cache_info().currsize and find_spec("mcp") is None:
                detail = "This server has no MCP endpoint: its operator can install the extra pycalc-service[mcp]."
                raise NotFound(detail)
            # The protocol requires this check against DNS rebinding. After a rebinding, Host and Origin are both the
            # attacker's, so an Origin that equals Host is not allowed either.
            if "origin" in request.headers and not context_of(request.scope).origin_allowed:
                raise Forbidden(UNKNOWN_ORIGIN)
            try:
                return await handle(request)
            except Unauthorized as error:
                response, url = await response_to(request, error), _public_url(resources_of(request.scope))
                if url is not None:  # RFC 9728 section 5.1
                    response.headers["WWW-Authenticate"] += f', resource_metadata="{url}{METADATA}{PATH}"'
                return response

        return handle_mcp


@max_body(_MAX_BODY)
async def mcp(request: Request, caller: AnyCallerDep) -> Response:
    """Answer one message of the Model Context Protocol (streamable HTTP, without sessions)."""
    return DeferredResponse(partial(_answer, caller, await request.body()))


# OpenAPI does not describe the protocol's messages; the message tools/list describes the tools.
router = APIRouter(route_class=StrictRoute, include_in_schema=False)
router.add_api_route(PATH, mcp, methods=["POST"], route_class_override=_McpRoute)


@router.get(METADATA)
@router.get(METADATA + PATH)
async def protected_resource(resources: ResourcesDep) -> Response:
    """Return the endpoint's metadata as a protected resource (RFC 9728). Raises NotFound without a public URL."""
    # No authorization server is named, because the service accepts only its own tokens and keys.
    url = _public_url(resources)
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


async def _answer(caller: Principal, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
    """Let the SDK answer a message. Raises Overloaded without memory, and ClientGone, which stops the work."""
    unread = [body]

    async def receive_body() -> Message:
        if not unread:
            await asyncio.get_running_loop().create_future()  # ``while_connected`` learns of a disconnect
        return {"type": "http.request", "body": unread.pop(), "more_body": False}

    async def answer() -> None:
        with ExitStack() as memory:

            async def send_with_limits(message: Message) -> None:
                if message["type"] == "http.response.start":
                    fields = rate_limit_fields(context_of(scope).limits)
                    message = {**message, "headers": [*message["headers"], *fields]}
                else:
                    memory.close()  # ``send`` counts the body itself
                await send(message)

            backend = scope[BACKEND] = RecordedBackend(scope, caller, memory)
            backend.reserve(_PARSED_BYTES * len(body), memory)
            server = _sdk() if _sdk.cache_info().currsize else await asyncio.to_thread(_sdk)
            await server.answer_http(resources_of(scope).mcp_inline_digits, scope, receive_body, send_with_limits)

    await while_connected(receive, answer())
