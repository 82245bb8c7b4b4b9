"""The edge of the application, as plain ASGI: metrics, security headers, and the short way to calculations (ADR 7)."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from fastapi import Request
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pycalc.routers.deps import resources_of
from pycalc.routers.headers import SECURITY_HEADERS
from pycalc.routers.math import CalculationRoute
from pycalc.routers.problems import answer_to

_UNMATCHED = "(none)"


class Edge:
    """Counts and times each answer by its route's template, and adds the headers that every answer carries.

    Calculations go straight to their routes; everything else passes through the framework's layers.
    """

    def __init__(self, app: ASGIApp, calculations: Iterable[CalculationRoute]) -> None:
        self._app = app
        self._calculations = {route.name: route for route in calculations}
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        started = perf_counter()
        route = self._calculation(scope)
        status = 500
        try:
            if route is not None:
                await route.handle(scope, receive, send)
                status = 200
                return

            async def send_with_headers(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
                await send(message)

            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if route is None:
                raise
            response = await answer_to(Request(scope), error)
            status = response.status_code
            response.raw_headers.extend(SECURITY_HEADERS)
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
        method = scope["method"] if route != _UNMATCHED else "*"  # a client's invented method makes no new series
        try:
            counter = self._counters[route, method, status]
            histogram = self._histograms[route, method]
        except KeyError:
            metrics = resources_of(scope).metrics
            counter = self._counters[route, method, status] = metrics.requests.labels(route, method, str(status))
            histogram = self._histograms[route, method] = metrics.request_seconds.labels(route, method)
        counter.inc()
        histogram.observe(seconds)
