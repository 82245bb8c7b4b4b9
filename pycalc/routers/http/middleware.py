"""The edge of the application, as plain ASGI: metrics, security headers, and the short way to calculations (ADR 7)."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Awaitable, Iterable
from threading import Lock
from time import perf_counter

from fastapi import Request, Response
from prometheus_client import Counter, Histogram
from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pycalc.errors import Overloaded
from pycalc.models.problems import PROBLEM_MEDIA_TYPE
from pycalc.observability import requests
from pycalc.observability.metrics import Metrics
from pycalc.routers.http.connection import BODY_SECONDS, RequestBody
from pycalc.routers.http.deps import ARRIVED, SLOT, key_of, release_slot, resources_of
from pycalc.routers.http.headers import secured
from pycalc.routers.http.negotiation import WITHOUT_CONTENT
from pycalc.routers.http.problems import CLIENT_GONE, STATUS, answer_to, bad_host, problem_body, quoted
from pycalc.routers.http.sending import ClientTooSlow, ResponseSender, count_cut
from pycalc.routers.math import CalculationRoute
from pycalc.services.calculations.calculator import OVERLOADED

_UNMATCHED = "(none)"
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def by_https(scope: Scope) -> bool:
    """Whether the client came by https, as far as the server or a trusted proxy tells."""
    if scope.get("scheme") == "https":
        return True
    addresses = resources_of(scope).addresses
    if not addresses.proxied:
        return False
    peer = scope.get("client")
    told = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
    return addresses.by_https(peer[0] if peer else None, told)


def _as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """Return the GET that a HEAD stands for, and a ``send`` that drops the content (RFC 9110 §9.3.2)."""

    async def send_without_content(message: Message) -> None:
        if message.get("more_body"):
            return
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    headers = [field for field in scope["headers"] if field[0] != b"range"]  # RFC 9110 §14.2: for GET only
    return {**scope, "method": "GET", "headers": headers, WITHOUT_CONTENT: True}, send_without_content


_UNCONTENDED = 128
"""Slots taken up to which nobody asks whose they are; few enough for a fair share of the others."""
_OVERLOAD = Overloaded(OVERLOADED)
_PATH = "-"
_BEFORE, _AFTER = to_json(problem_body(_OVERLOAD, _PATH)).split(to_json(_PATH))
_REFUSED: Message = {
    "type": "http.response.start",
    "status": STATUS[_OVERLOAD.code],
    "headers": secured([(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"retry-after", b"1")]),
}


async def _refuse(refused: Iterable[Message], send: Send) -> None:
    for message in refused:
        await send(message)


async def _send_secured(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    response.raw_headers = secured(response.raw_headers)
    await response(scope, receive, send)


class Edge:
    """Counts and times each answer by its route's template, and adds the headers that every answer carries.

    Calculations go straight to their routes; everything else passes through the framework's layers.
    """

    def __init__(
        self, app: ASGIApp, calculations: Iterable[CalculationRoute], body_seconds: float = BODY_SECONDS
    ) -> None:
        """``body_seconds``: how long the first bytes of a body may take."""
        self._app = app
        self._body_seconds = body_seconds
        self._calculations = {route.name: route for route in calculations}
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}
        self._turned_away = Tally[str]()
        """Refusals by operation that the metrics have not been told of: each request that is let in tells them."""
        self._counting = Lock()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request, when awaited."""
        if scope["method"] == "HEAD":
            scope, send = _as_get(scope, send)
        if SLOT not in scope:  # taken in the HTTP server's thread, where it is ours
            refused = self.refusal(scope)
            if refused is not None:
                return _refuse(refused, send)
        if self._turned_away:
            self._tell_of_refusals(resources_of(scope).metrics)
        return self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = scope[ARRIVED] = perf_counter()
        requests.current.set(scope)
        route = span = None
        status = 500
        try:
            route = self._calculation(scope)
            span = resources_of(scope).tracer.begin(scope)
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if (len(hosts) != 1 or not hosts[0]) and scope.get("http_version") == "1.1":  # Granian adds an empty one
                status = 400
                await _send_secured(bad_host(Request(scope)), scope, receive, send)
                return
            if route is not None:
                status = await route.answer(scope, receive, send)
                return
            body = RequestBody(scope, receive, self._body_seconds)
            sender = ResponseSender(scope, receive, send)
            try:
                await self._app(scope, body, sender)
            finally:
                status = CLIENT_GONE if body.broken else sender.status
        except ClientTooSlow:
            count_cut(resources_of(scope), scope)
            status = CLIENT_GONE
        except Exception as error:
            if route is None:
                raise
            response = await answer_to(Request(scope), error)
            status = response.status_code
            await _send_secured(response, scope, receive, send)
        finally:
            release_slot(scope)
            self._observe(scope, status, perf_counter() - started)
            if span is not None:
                span.end(getattr(scope.get("route"), "path_format", None), status)

    def refusal(self, scope: Scope) -> tuple[Message, Message] | None:
        """Take a slot for a calculation; return the whole answer to one that finds none (ADR 18), else None.

        Another thread than the event loop's may ask. The operands are not looked at, for each microsecond is taken
        from the calculations that are let in.
        """
        if scope["method"] != "GET":
            return None
        path: str = scope["path"]
        operation = path[1 : path.find("/", 1)]
        if operation not in self._calculations:
            return None
        resources = resources_of(scope)
        slots = resources.calculator.slots
        slot = slots.try_acquire(None if slots.taken < _UNCONTENDED else key_of(scope, resources))
        if slot is not None:
            scope[SLOT] = slot
            return None
        with self._counting:
            self._turned_away[operation] += 1
        instance = to_json(quoted(path))
        return _REFUSED, {"type": "http.response.body", "body": b"".join((_BEFORE, instance, _AFTER))}

    def _tell_of_refusals(self, metrics: Metrics) -> None:
        """Count what was refused since the last time; it took no time, so none is observed."""
        with self._counting:
            told, self._turned_away = self._turned_away, Tally()
        for operation, times in told.items():
            metrics.requests_refused.labels("overload").inc(times)
            metrics.requests.labels(self._calculations[operation].path_format, "GET", "503").inc(times)

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
