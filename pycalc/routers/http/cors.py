"""Cross-origin requests: the pages of configured origins may call the service, with tokens and without cookies."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from pycalc.errors import Forbidden
from pycalc.routers.http.headers import with_default_headers
from pycalc.routers.http.problems import response_to

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_ASKED = ("Authorization", "If-Match", "If-None-Match", "If-Range", "Last-Event-ID", "Range")
"""Header fields that a page may send beside those that need no permission."""
_TOLD = (
    "Accept-Ranges",
    "Content-Encoding",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Repr-Digest",
    "Retry-After",
    "WWW-Authenticate",
    "X-Calculation-Id",
    "X-Exact",
)
"""Header fields that a page may read beside those that it always may."""


class CrossOrigin(CORSMiddleware):
    """The Fetch standard's CORS protocol around the edge, so that errors and calculations follow it too."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(app, origins, _METHODS, _ASKED, expose_headers=_TOLD)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight; let the edge answer anything else, and add the protocol's fields."""
        asked = Headers(scope=scope)
        if scope["method"] != "OPTIONS" or "origin" not in asked or "access-control-request-method" not in asked:
            await self.simple_response(scope, receive, send, asked)
            return
        response = self.preflight_response(asked)
        if response.status_code != HTTPStatus.OK:
            refusal = Forbidden("Pages of this origin may not do this.")
            response = await response_to(Request(scope), refusal)
        response.raw_headers = with_default_headers(response.raw_headers)
        await response(scope, receive, send)
