"""The request path in front of FastAPI: context, overload check, metrics, and direct calls of calculation routes.

A calculation by GET bypasses the framework's layers, which would cost more than the calculation itself (ADR 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI, Request
from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send
from structlog import get_logger

from pycalc.errors import BadRequest, Overloaded
from pycalc.models.problems import PROBLEM_MEDIA_TYPE
from pycalc.observability import requests
from pycalc.observability.requests import METHODS, REQUEST, RequestContext, context_of
from pycalc.routers.http.connection import ClientGone, RequestBody
from pycalc.routers.http.cors import CrossOrigin
from pycalc.routers.http.credentials import take_query_key
from pycalc.routers.http.deps import key_of, resources_of, route_of
from pycalc.routers.http.headers import (
    NO_STORE,
    STRICT_TRANSPORT,
    Header,
    with_default_headers,
    with_headers,
)
from pycalc.routers.http.openapi import complete
from pycalc.routers.http.problem_types import STATUS, instance_of, problem_body
from pycalc.routers.http.problems import CLIENT_GONE, response_to
from pycalc.routers.http.sending import ClientTooSlow, ResponseSender
from pycalc.routers.math import CalculationRoute
from pycalc.services.calculations.calculator import OVERLOADED

_UNCONTENDED = 128  # with fewer slots taken, no user can have reached the fair share, so the user is not looked up
# The most bytes in the values of a request's header fields. Parsing the 128 KiB that Granian reads would block the
# event loop for more than 10 ms.
_MOST_FIELD_BYTES = 32 * 1024
_OVERLOAD = Overloaded(OVERLOADED)
_OVERLOAD_HEADERS = with_default_headers([(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"retry-after", b"1")])

_log = get_logger(__name__)


class Application(FastAPI):
    """A FastAPI application that is its own middleware: it prepares, counts and times every request."""

    def __init__(
        self,
        calculations: Iterable[CalculationRoute],  # called directly
        cors_origins: Sequence[str],  # their pages may call the service
        body_seconds: float,  # the time limit of RequestBody
        **options: Any,  # of FastAPI
    ) -> None:
        super().__init__(**options)
        self._calculations = {route.name: route for route in calculations}
        self.router.routes.extend(self._calculations.values())  # for the OpenAPI document
        self._body_seconds = body_seconds
        self._cors = CrossOrigin(self._respond, cors_origins) if cors_origins else None

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, which the first call creates and completes."""
        if self.openapi_schema is None:
            complete(super().openapi())
        return super().openapi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put a RequestContext into the request's scope and respond. Respond to a HEAD as to a GET, without content."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        context = context_of(scope) if REQUEST in scope else RequestContext()
        context.arrived = perf_counter()
        if scope["query_string"]:
            take_query_key(scope, context)
        if context.query_key is not None:
            send = with_headers((NO_STORE,), send)  # because caches would store the URL, with its key
        if scope["method"] == "HEAD":
            headers = [field for field in scope["headers"] if field[0] != b"range"]  # RFC 9110 §14.2: for GET only
            scope = {**scope, "method": "GET", "headers": headers}
            context.content_wanted = False
            send = _without_content(send)
        scope[REQUEST] = context
        if _by_https(scope):
            send = with_headers((STRICT_TRANSPORT,), send)
        token = requests.current.set(scope)
        try:
            await (self._cors or self._respond)(scope, receive, send)
        finally:
            requests.current.reset(token)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        context, resources = context_of(scope), resources_of(scope)
        if not context.admitted and (refused := self._admit(scope, context)) is not None:
            await send(refused[0])
            await send(refused[1])
            return
        route = end_span = None
        status, in_framework = 500, False
        try:
            route = self._calculation(scope)
            end_span = resources.tracer.begin(scope)
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if (len(hosts) != 1 or not hosts[0]) and scope.get("http_version") == "1.1":  # Granian adds an empty one
                raise BadRequest("An HTTP/1.1 request needs exactly one Host field, which names the host: send one.")
            if route is not None:
                status = await route.answer(scope, receive, send)
            else:
                in_framework = True  # which responds to errors itself
                body = RequestBody(scope, receive, self._body_seconds)
                sender = ResponseSender(scope, receive, send)
                try:
                    await super().__call__(scope, body, sender)
                    if context.send_rest is not None:
                        await context.send_rest(body, sender)
                finally:
                    status = CLIENT_GONE if body.broken else sender.status
        except ClientGone:
            status = CLIENT_GONE
        except ClientTooSlow:
            resources.metrics.responses_cut.inc()
            _log.warning("response cut: the client reads too slowly", route=route_of(scope))
            status = CLIENT_GONE
        except Exception as error:
            if in_framework:
                raise
            response = await response_to(Request(scope), error)
            status = response.status_code
            await response(scope, receive, send)
        finally:
            context.release_slot()
            seconds = perf_counter() - context.arrived
            resources.metrics.observe_request(route_of(scope) or "(none)", _counted_method(scope), status, seconds)
            if end_span is not None:
                end_span(route_of(scope), status)

    def refusal(self, scope: Scope) -> tuple[Message, Message] | None:
        """Return the response that refuses a request, or None to admit the request.

        Header fields of more than _MOST_FIELD_BYTES are refused, and calculations by GET or HEAD for which no slot is
        free. HttpServer calls this in its own thread, so that a refusal costs the event loop nothing (ADR 18).
        """
        if sum([len(value) for _, value in scope["headers"]]) > _MOST_FIELD_BYTES:
            resources_of(scope).metrics.requests.labels("(none)", _counted_method(scope), "431").inc()
            return _refused(scope, 431, with_default_headers(()))
        if self._cors is not None and any(name == b"origin" for name, _ in scope["headers"]):
            return None  # ``_respond`` makes the check instead, so that ``self._cors`` adds its fields to a refusal
        context = scope[REQUEST] = RequestContext()
        if scope["query_string"]:
            take_query_key(scope, context)  # so that an API key in the query identifies the user
        return self._admit(scope, context)

    def _admit(self, scope: Scope, context: RequestContext) -> tuple[Message, Message] | None:
        """Return a response that refuses the request and count the refusal, or admit the request and return None."""
        context.admitted = True
        path: str = scope["path"]
        route = self._calculations.get(path[1 : path.find("/", 1)])
        if route is None or scope["method"] not in ("GET", "HEAD"):
            return None
        resources = resources_of(scope)
        slots = resources.calculator.slots
        slot = slots.try_acquire(None if slots.taken < _UNCONTENDED else key_of(scope, resources))
        if slot is not None:
            context.release_slot = slot.release
            return None
        resources.metrics.requests_refused.labels("overload").inc()
        resources.metrics.requests.labels(route.path_format, "GET", "503").inc()
        content = to_json(problem_body(_OVERLOAD, instance_of(scope))) if scope["method"] == "GET" else b""
        return _refused(scope, STATUS[_OVERLOAD.code], _OVERLOAD_HEADERS, content)

    def _calculation(self, scope: Scope) -> CalculationRoute | None:
        """Return the calculation route of a request, and put it and its operands into the scope; None for others."""
        if scope["method"] != "GET":
            return None
        path: str = scope["path"]
        route = self._calculations.get(path[1 : path.find("/", 1)])
        if route is None:
            return None
        # An operand such as 1/3 contains an escaped slash, which the server's decoded ``path`` does not show.
        raw = scope.get("raw_path", b"")
        escaped = b"%2f" in raw or b"%2F" in raw
        matched = route.path_regex.match(raw.decode("latin-1") if escaped else path)
        if not matched:
            if escaped:  # so that the router does not read the escaped slash as a separator
                scope["path"] = raw.decode("latin-1")
            return None
        operands = matched.groupdict()
        scope["route"] = route
        scope["path_params"] = {name: unquote(value) for name, value in operands.items()} if escaped else operands
        return route


def _refused(scope: Scope, status: int, headers: Iterable[Header], content: bytes = b"") -> tuple[Message, Message]:
    """Return a response as two new messages, because CORSMiddleware changes the messages that it sends."""
    strict = [STRICT_TRANSPORT] if _by_https(scope) else []
    start = {"type": "http.response.start", "status": status, "headers": [*headers, *strict]}
    return start, {"type": "http.response.body", "body": content}


def _counted_method(scope: Scope) -> str:
    """Return the name under which metrics count a request's method. A HEAD counts as GET."""
    method: str = scope["method"]
    if method == "HEAD":
        return "GET"
    return method if method in METHODS else "other"


def _by_https(scope: Scope) -> bool:
    """Return whether the client uses https, as the server or a trusted proxy reports it."""
    if scope.get("scheme") == "https":
        return True
    addresses = resources_of(scope).addresses
    if not addresses.proxied:
        return False
    peer = scope.get("client")
    protocols = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
    return addresses.by_https(peer[0] if peer else None, protocols)


def _without_content(send: Send) -> Send:
    """Return a ``send`` that drops the content of a response (RFC 9110 §9.3.2)."""

    async def send_without_content(message: Message) -> None:
        if message.get("more_body"):
            return
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_without_content
