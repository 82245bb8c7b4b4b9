"""The edge of the application, as plain ASGI: metrics, security headers, and the short way to calculations (ADR 7)."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from fastapi import Request
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pycalc.errors import PayloadTooLarge
from pycalc.routers.deps import resources_of
from pycalc.routers.headers import NO_STORE, SECURITY_HEADERS
from pycalc.routers.math import CalculationRoute
from pycalc.routers.negotiation import WITHOUT_CONTENT
from pycalc.routers.problems import answer_to

_UNMATCHED = "(none)"
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def _secured(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add the header fields that every answer carries where it has none of its own."""
    present = list(headers)
    names = {name for name, _ in present}
    return present + [field for field in (*SECURITY_HEADERS, NO_STORE) if field[0] not in names]


def _declared_length(scope: Scope) -> int:
    """Return the body's Content-Length; 0 when it is not told, and is counted as it comes."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(declared) if declared.isdigit() else 0


async def _refuse_body(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as a problem what the framework's limit would answer as plain text."""
    response = await answer_to(Request(scope), PayloadTooLarge("The body is larger than this service takes."))
    await response(scope, receive, send)


def _as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """Return the GET that a HEAD stands for, and a ``send`` that drops the content (RFC 9110 §9.3.2)."""

    async def send_without_content(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    headers = [field for field in scope["headers"] if field[0] != b"range"]  # RFC 9110 §14.2: for GET only
    return {**scope, "method": "GET", "headers": headers, WITHOUT_CONTENT: True}, send_without_content


class Edge:
    """Counts and times each answer by its route's template, and adds the headers that every answer carries.

    Calculations go straight to their routes; everything else passes through the framework's layers.
    """

    def __init__(self, app: ASGIApp, calculations: Iterable[CalculationRoute], max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._calculations = {route.name: route for route in calculations}
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] == "HEAD":
            scope, send = _as_get(scope, send)
        started = perf_counter()
        route = self._calculation(scope)
        status = 500
        try:
            if route is not None:
                status = await route.answer(scope, receive, send)
                return

            async def send_with_headers(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    message["headers"] = _secured(message.get("headers", ()))
                await send(message)

            app = _refuse_body if _declared_length(scope) > self._max_body_bytes else self._app
            await app(scope, receive, send_with_headers)
        except Exception as error:
            if route is None:
                raise
            response = await answer_to(Request(scope), error)
            status = response.status_code
            response.raw_headers = _secured(response.raw_headers)
            await response(scope, receive, send)
        finally:
            self._observe(scope, status, perf_counter() - started)

    def _calculation(self, scope: Scope) -> CalculationRoute | None:
        """Return the calculation that a request asks for, its operands noted in the scope; None for other requests."""
        if scope["method"] != "GET":
            return None
        path: str = scope["path"]
        route = self._calculations.get(path[1 : path.find("/", 1)])
        matched = route and route.path_regex.match(path)
        if not matched:
            return None
        scope["route"] = route
        scope["path_params"] = matched.groupdict()
        return route

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", _UNMATCHED)
        method = scope["method"] if scope["method"] in _METHODS else "other"  # an invented method makes no new series
        try:
            counter = self._counters[route, method, status]
            histogram = self._histograms[route, method]
        except KeyError:
            metrics = resources_of(scope).metrics
            counter = self._counters[route, method, status] = metrics.requests.labels(route, method, str(status))
            histogram = self._histograms[route, method] = metrics.request_seconds.labels(route, method)
        counter.inc()
        histogram.observe(seconds)
