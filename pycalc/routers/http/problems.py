"""Errors as RFC 9457 problems, of the domain and of the framework."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.routing import Match
from structlog import get_logger

from pycalc import errors
from pycalc.models.json_text import LARGEST_JSON_INTEGER
from pycalc.models.problems import PROBLEM_MEDIA_TYPE
from pycalc.models.times import timestamp
from pycalc.observability.requests import context_of, request_id_of
from pycalc.routers.http.audit import AUDITED, audit_refusal
from pycalc.routers.http.connection import BODY_BYTES_A_SECOND, BODY_SECONDS, BodyBroken, BodyTooLarge, ClientGone
from pycalc.routers.http.examples import PROBLEMS
from pycalc.routers.http.headers import rate_limit_fields
from pycalc.routers.http.sentences import invalid_input
from pycalc.services.operations.numbers.gmp import text_of

TYPE_BASE = "/docs/problems#"

STATUS: Mapping[str, int] = {
    "bad-request": 400,
    "validation-error": 422,
    "domain-error": 422,
    "result-too-large": 422,
    "precondition-failed": 412,
    "range-not-satisfiable": 416,
    "unauthorized": 401,
    "totp-required": 401,
    "forbidden": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "request-timeout": 408,
    "conflict": 409,
    "payload-too-large": 413,
    "unsupported-media-type": 415,
    "rate-limited": 429,
    "quota-exceeded": 429,
    "computation-timeout": 504,
    "overloaded": 503,
    "unavailable": 503,
    "internal-error": 500,
}
MAX_ERRORS = 20  # listed in a response; a body may have hundreds
MAX_ECHO = 1024  # characters of a path or a field's name that a response repeats
CLIENT_GONE = 499  # nginx's status for a client that disconnected; only metrics and traces show it
MEANING: Mapping[str, str] = {
    "bad-request": "The request's body broke off, its framing is not valid HTTP, or it has not exactly one Host.",
    "validation-error": "The request is not of the documented form; `errors` says where.",
    "domain-error": "The operation has no value for these operands; in an expression, `errors` says where.",
    "result-too-large": "The result has more digits than are written out: `digits`, `limit`, `leading`, `trailing`.",
    "precondition-failed": "`If-Match` names no current ETag of what was asked for; nothing was done or recorded.",
    "range-not-satisfiable": "The range begins beyond the end; `Content-Range` tells the length. Nothing was recorded.",
    "unauthorized": "A valid token is needed.",
    "totp-required": "The password is right, and the account needs a code too: send it as `totp`.",
    "forbidden": "The token is valid and does not allow this, or a password or a code is wrong; `detail` says which.",
    "not-found": "There is no such resource.",
    "method-not-allowed": "The resource does not know this method; `Allow` lists those it does.",
    "request-timeout": "The request's body came too slowly.",
    "conflict": "The name or the address is taken, the last admin would go, or the `Idempotency-Key` is in use.",
    "payload-too-large": "The body has more than `limit` bytes, or the results of a batch are too long together.",
    "unsupported-media-type": "The body is of a type that the route does not take; `Accept` lists what to send.",
    "rate-limited": "Too many requests; `Retry-After` says when to come back.",
    "quota-exceeded": "The caller has used up `quota`: `limit`, `used`, `resets_at`. Nothing was recorded.",
    "computation-timeout": "The computation was stopped at its deadline (`found`: factors by then) or limit of memory.",
    "overloaded": "A bounded queue is full; `Retry-After` says when to come back.",
    "unavailable": "A dependency does not answer; nothing was done, unless `detail` says that this is not known.",
    "internal-error": "A fault of the service; the log knows more.",
}
_BODY_TIME = f"{BODY_SECONDS:g} s, plus 1 s for every {BODY_BYTES_A_SECOND // 1024} KiB"
# The framework's errors by status: problem type, title and detail.
_FRAMEWORK = {
    400: ("validation-error", errors.InvalidInput.title, "The body could not be read: send it in the documented form."),
    404: ("not-found", errors.NotFound.title, "There is no such path."),
    405: (
        "method-not-allowed",
        "Method not allowed",
        "The path does not support this method; Allow lists the methods that it supports.",
    ),
    408: (
        "request-timeout",
        "The request came too slowly",
        f"The body arrived too slowly: send it within {_BODY_TIME}.",
    ),
}
_UNREADABLE = "The request could not be read"
_PATH_CHARACTERS = "/:@!$&'()*+,;="  # allowed in a path beside the unreserved characters (RFC 3986 §3.3)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_log = get_logger(__name__)


def responses(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries, by status, of the problem types ``slugs`` and of "internal-error".

    "payload-too-large" adds the other problem types of requests with a body.
    """
    by_status: dict[int, list[str]] = {}
    of_body = ("bad-request", "request-timeout", "unsupported-media-type") if "payload-too-large" in slugs else ()
    for slug in (*slugs, *of_body, "internal-error"):
        by_status.setdefault(STATUS[slug], []).append(slug)
    return {
        status: {
            "description": " ".join(f"`{slug}`: {MEANING[slug]}" for slug in of_status),
            "content": {
                PROBLEM_MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {slug: {"value": _example(slug)} for slug in of_status},
                }
            },
        }
        for status, of_status in by_status.items()
    }


def _example(slug: str) -> dict[str, object]:
    return _body(slug, *PROBLEMS[slug])


def quoted(path: str) -> str:
    """Return a request's path, cut to MAX_ECHO characters, as a URI reference for ``instance``.

    ``/.`` precedes a path that begins with two slashes, because its first segment would be a host (RFC 3986 §4.2).
    """
    reference = quote(path[:MAX_ECHO], safe=_PATH_CHARACTERS) or "/"
    return "/." + reference if reference.startswith("//") else reference


def problem(
    request: Request, slug: str, title: str, detail: str, headers: Mapping[str, str] | None = None, **members: object
) -> Response:
    """Return the response that reports a problem of the type ``slug``."""
    instance = quoted(request.scope["path"])
    return Response(to_json(_body(slug, title, detail, instance, members)), STATUS[slug], headers, PROBLEM_MEDIA_TYPE)


def _body(slug: str, title: str, detail: str, instance: str, members: Mapping[str, object]) -> dict[str, object]:
    known = {"type": TYPE_BASE + slug, "title": title, "status": STATUS[slug], "detail": detail, "instance": instance}
    return {**known, **members}


def problem_body(error: errors.PycalcError, instance: str) -> dict[str, object]:
    """Return the body of a problem for a domain error. Log an internal error, and omit its detail."""
    if error.code == "internal-error":
        _log.error("internal error", path=instance, error=type(error).__name__)
        detail = "The service made an error; tell the operator, whose log has the details."
        return _body(error.code, error.title, detail, instance, {})
    detail, members = error.detail, dict[str, object]()
    if isinstance(error, errors.ResultTooLarge):
        members["limit"] = error.limit
        if error.digits is not None:
            digits = error.digits if error.digits <= LARGEST_JSON_INTEGER else text_of(error.digits)
            members |= {"digits": digits, "leading": error.leading, "trailing": error.trailing}
    if isinstance(error, errors.QuotaExceeded):
        members |= {"quota": error.quota.name, "limit": error.quota.amount, "used": error.used}
        members["resets_at"] = timestamp(error.resets_at * 1000)
    if isinstance(error, errors.ComputationTimeout) and error.found is not None:
        members["found"] = json.loads(error.found)
    if isinstance(error, errors.InvalidInput | errors.DomainError | errors.ResultTooLarge) and error.problems:
        members["errors"] = [
            {"pointer": pointer[:MAX_ECHO], "detail": detail[:MAX_ECHO]}
            | ({} if position is None else {"position": position})
            for pointer, detail, position in error.problems[:MAX_ERRORS]
        ]
        if len(error.problems) > MAX_ERRORS:
            detail += f" The first {MAX_ERRORS} of {len(error.problems):,} errors are listed."
    return _body(error.code, error.title, detail, instance, members)


def _headers(error: errors.PycalcError) -> dict[str, str]:
    """Return the header fields of the response to an error."""
    if isinstance(error, errors.Unauthorized):
        reason = ', error="invalid_token"' if isinstance(error, errors.InvalidToken) else ""
        return {"WWW-Authenticate": f'Bearer realm="pycalc"{reason}'}
    if isinstance(error, errors.MissingScope):  # RFC 6750 section 3.1
        return {"WWW-Authenticate": f'Bearer realm="pycalc", error="insufficient_scope", scope="{error.scope}"'}
    if isinstance(error, errors.RetryLater):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, errors.UnsupportedCoding):
        return {"Accept-Encoding": ", ".join(error.accepted)}
    if isinstance(error, errors.UnsupportedMediaType):
        return {"Accept": ", ".join(error.accepted)}
    if isinstance(error, errors.RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.length}"}
    return {}


async def _expected(request: Request, error: Exception) -> Response:
    """Return the response to a PycalcError, a RequestValidationError or a ClientGone.

    Write a refusal to the audit log.
    """
    if isinstance(error, ClientGone):
        return Response(status_code=CLIENT_GONE)  # only the metrics show it, because the client has disconnected
    if isinstance(error, RequestValidationError):
        error = invalid_input(error.errors())
    assert isinstance(error, errors.PycalcError)  # noqa: S101  # the handler is registered for these
    body = problem_body(error, quoted(request.scope["path"]))
    status = STATUS[error.code]
    if status in AUDITED:
        audit_refusal(request.scope, status, error.detail)
    named = {"X-Request-ID": request_id_of(request.scope)} if error.code == "internal-error" else {}
    response = Response(to_json(body), status, {**_headers(error), **named}, PROBLEM_MEDIA_TYPE)
    limits = error.limits if isinstance(error, errors.RateLimited) else context_of(request.scope).limits
    if isinstance(error, errors.QuotaExceeded):
        limits = (*limits, error.quota)
    response.raw_headers += rate_limit_fields(limits)
    return response


def _matches(request: Request, path: str, method: str) -> set[Match]:
    """Return the ways in which routes of the application match a path and a method: fully or partially."""
    scope = {"type": "http", "path": path, "root_path": "", "headers": [], "method": method}
    return {route.matches(scope)[0] for route in request.app.routes} - {Match.NONE}


async def _framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # the handler is registered for these
    path = request.scope["path"]
    if isinstance(error, BodyTooLarge):
        detail = f"The body is too large: this route accepts up to {error.limit:,} bytes."
        title = errors.PayloadTooLarge.title
        return problem(request, "payload-too-large", title, detail, error.headers, limit=error.limit)
    if isinstance(error, BodyBroken):
        detail = "The body ended early, or its framing is not valid HTTP: send the request again."
        return problem(request, "bad-request", _UNREADABLE, detail, error.headers)
    otherwise = ("internal-error", errors.PycalcError.title, "The request could not be handled.")
    slug, title, detail = _FRAMEWORK.get(error.status_code, otherwise)
    headers, members = error.headers, dict[str, object]()
    if slug == "not-found":
        without_empty_segments = "/" + "/".join(filter(None, path.split("/")))
        differs = path not in ("", without_empty_segments) and len(without_empty_segments) <= MAX_ECHO
        if differs and _matches(request, without_empty_segments, "GET"):
            detail += f" Did you mean {quoted(without_empty_segments)}?"
    elif slug == "method-not-allowed":
        methods = [method for method in _METHODS if Match.FULL in _matches(request, path, method)]
        allowed = ["GET", "HEAD", *methods[1:]] if "GET" in methods else methods
        headers = {"Allow": ", ".join(allowed)}
    elif slug == "validation-error":
        members = {"errors": [{"pointer": "", "detail": detail}]}
    return problem(request, slug, title, detail, headers, **members)


async def _unexpected(request: Request, error: Exception) -> Response:
    detail = "An unexpected error was logged; tell the operator the X-Request-ID of this response."
    named = {"X-Request-ID": request_id_of(request.scope)}
    return problem(request, "internal-error", errors.PycalcError.title, detail, named)


async def response_to(request: Request, error: Exception) -> Response:
    """Return the response to an error that the framework does not handle. Log the error if it is unexpected."""
    if isinstance(error, ClientGone | errors.PycalcError):
        return await _expected(request, error)
    _log.error("unexpected error", path=request.url.path, exc_info=error)
    return await _unexpected(request, error)


def bad_host(request: Request) -> Response:
    """Return the response to an HTTP/1.1 request without exactly one Host field with a value (RFC 9112 §3.2)."""
    detail = "An HTTP/1.1 request needs exactly one Host field, which names the host: send one."
    return problem(request, "bad-request", _UNREADABLE, detail)


def install_problems(app: FastAPI) -> None:
    """Register the handlers that turn every error of the application into a problem."""
    for kind in (errors.PycalcError, ClientGone, RequestValidationError):
        app.add_exception_handler(kind, _expected)
    app.add_exception_handler(HTTPException, _framework_error)
    app.add_exception_handler(Exception, _unexpected)


# The responses of routes that authenticate their caller. A route's own entry for a status replaces the one here.
OF_CALLERS = responses("unauthorized", "forbidden", "validation-error", "unavailable")
