"""Which request the code works for: what its log records are marked with."""

from __future__ import annotations

import re
from collections.abc import Iterable, MutableMapping
from contextvars import ContextVar
from typing import Any, NamedTuple
from uuid import uuid4

from pycalc.models.ids import text_of_id

current: ContextVar[MutableMapping[str, Any] | None] = ContextVar("request", default=None)
"""The ASGI scope of the request under way: nothing is made of it before something is logged."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")
_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
"""Version 00 (W3C Trace Context, §3.2)."""
LONGEST = 256
"""Characters of what clients choose that a record repeats."""


class TraceContext(NamedTuple):
    """A span of a trace, both in hexadecimal."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def traceparent(self) -> str:
        """The header's form (W3C Trace Context, §3.2)."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def trace_of(traceparent: bytes | str | None) -> TraceContext | None:
    """Return the trace that a ``traceparent`` names; None where there is none, or an invalid one."""
    text = traceparent.encode("latin-1", "replace") if isinstance(traceparent, str) else traceparent or b""
    found = _TRACEPARENT.fullmatch(text)
    if found is None or not found[1].strip(b"0") or not found[2].strip(b"0"):
        return None
    return TraceContext(found[1].decode(), found[2].decode(), bool(int(found[3], 16) & 1))


def header(scope: MutableMapping[str, Any], name: bytes) -> bytes | None:
    """Return the value of a request's header field, in small letters; None where it has none."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), None)


def request_id_of(scope: MutableMapping[str, Any]) -> str:
    """Return what a request is called: the client's ``X-Request-ID`` if that is a plain word, else one made up now."""
    if "request_id" not in scope:
        given = header(scope, b"x-request-id") or b""
        scope["request_id"] = given.decode() if _REQUEST_ID.fullmatch(given) else uuid4().hex
    name: str = scope["request_id"]
    return name


def marks_of(scope: MutableMapping[str, Any]) -> dict[str, object]:
    """Return what each record of a request is marked with: its id, its user's, and its trace's."""
    marks: dict[str, object] = {"request_id": request_id_of(scope)}
    if "caller" in scope:
        marks["user_id"] = text_of_id(scope["caller"].user_id)
    trace = scope.get("trace") or trace_of(header(scope, b"traceparent"))
    if trace is not None:
        marks |= {"trace_id": trace.trace_id, "span_id": trace.span_id, "trace_sampled": trace.sampled}
    return marks


def described(scope: MutableMapping[str, Any]) -> dict[str, object]:
    """Return a request as Cloud Logging's HttpRequest has it."""
    agent = header(scope, b"user-agent")
    return {
        "requestMethod": scope["method"],
        "requestUrl": scope["path"][:LONGEST],
        "protocol": f"HTTP/{scope.get('http_version', '1.1')}",
        **({"userAgent": agent.decode("latin-1")[:LONGEST]} if agent else {}),
    }
