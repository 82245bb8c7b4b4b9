"""The context of the current request, which the layers of the service and the log records share."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from pycalc.errors import LimitState
from pycalc.models.auth import Principal

REQUEST = "pycalc.request"  # the key of the RequestContext in an ASGI scope
# The current request's ASGI scope. A log record's fields are made from the scope only when something is logged.
current: ContextVar[MutableMapping[str, Any] | None] = ContextVar("request", default=None)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")
_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")  # version 00, W3C Trace Context §3.2
LONGEST = 256  # characters of a client's text that a log record repeats
# Other methods are counted and traced under one name, so that clients cannot create unlimited series and span names.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class TraceContext(NamedTuple):
    """A trace and one of its spans, as ids in hexadecimal."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def traceparent(self) -> str:
        """Return the value of a ``traceparent`` header (W3C Trace Context, §3.2)."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


@dataclass(slots=True)
class RequestContext:
    """The facts about one request that the layers of the service share."""

    arrived: float = 0.0  # time of ``perf_counter``
    admitted: bool = False  # whether the overload check admitted the request
    content_wanted: bool = True  # False for HEAD
    release_slot: Callable[[], None] = lambda: None  # frees the request's calculation slot, if it has one
    # Sends a response by ASGI's ``receive`` and ``send`` after FastAPI has returned without sending one.
    send_rest: Callable[..., Awaitable[None]] | None = None
    query_key: bytes | None = field(default=None, repr=False)  # the API key in the URL, a secret; empty if repeated
    origin_allowed: bool = False  # whether the request is from a page of an origin that PYCALC_CORS_ORIGINS names
    caller: Principal | None = None
    limits: tuple[LimitState, ...] = ()  # the caller's rate limits after this request
    fields: tuple[tuple[bytes, bytes], ...] = ()  # more header fields of the response to a calculation
    tried: str | None = None  # the user name of an attempted login, for the audit log
    cache_late: bool = False  # the shared cache was late once, so this request does not wait for it again
    request_id: str | None = None
    trace: TraceContext | None = None


def context_of(scope: MutableMapping[str, Any]) -> RequestContext:
    """Return the context that the request middleware has put into a request's ASGI scope."""
    context: RequestContext = scope[REQUEST]
    return context


def current_context() -> RequestContext | None:
    """Return the context of the current request, or None outside of requests."""
    scope = current.get()
    return None if scope is None else scope.get(REQUEST)


def trace_of(traceparent: bytes | None) -> TraceContext | None:
    """Return the trace and span in a ``traceparent`` value, or None if it is missing, invalid or not of version 00."""
    found = _TRACEPARENT.fullmatch(traceparent or b"")
    if found is None or not found[1].strip(b"0") or not found[2].strip(b"0"):
        return None
    return TraceContext(found[1].decode(), found[2].decode(), bool(int(found[3], 16) & 1))


def header(scope: MutableMapping[str, Any], name: bytes) -> bytes | None:
    """Return the first value of a request's header field, or None if it is missing. ``name`` must be in lower case."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), None)


def request_id_of(scope: MutableMapping[str, Any]) -> str:
    """Return the client's ``X-Request-ID`` if it is 1 to 128 safe characters, else an id made at the first call."""
    context = context_of(scope)
    if context.request_id is None:
        given = header(scope, b"x-request-id") or b""
        context.request_id = given.decode() if _REQUEST_ID.fullmatch(given) else uuid4().hex
    return context.request_id
