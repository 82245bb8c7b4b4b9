"""Cross-origin requests (CORS): pages of configured origins may call the service with tokens, but without cookies."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from pycalc.errors import Forbidden
from pycalc.observability.requests import context_of
from pycalc.routers.http.headers import with_default_headers
from pycalc.routers.http.openapi import HEADERS
from pycalc.routers.http.problems import response_to

# Request fields that a page may send besides the CORS-safelisted ones (Fetch standard).
_REQUEST_FIELDS = (
    "Authorization",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Range",
)


class CrossOrigin(CORSMiddleware):
    """A CORS middleware (Fetch standard) around all requests, including calculation routes and errors."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        # Pages may read the response fields in the OpenAPI document besides the CORS-safelisted ones.
        super().__init__(app, origins, methods, _REQUEST_FIELDS, expose_headers=("Content-Encoding", *HEADERS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight request. Pass other requests on; add CORS fields to responses if an Origin is given."""
        headers = Headers(scope=scope)
        context_of(scope).origin_allowed = self.is_allowed_origin(headers.get("origin", ""))
        if scope["method"] != "OPTIONS" or "origin" not in headers or "access-control-request-method" not in headers:
            await self.simple_response(scope, receive, send, headers)
            return
        response = self.preflight_response(headers)
        response.raw_headers = with_default_headers(response.raw_headers)
        if response.status_code != HTTPStatus.OK:
            detail = (
                "This origin, method or header field is not allowed; PYCALC_CORS_ORIGINS names the allowed origins."
            )
            response = await response_to(Request(scope), Forbidden(detail))
        await response(scope, receive, send)
