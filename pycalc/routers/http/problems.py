"""Responses to errors of the domain and of the framework, as RFC 9457 problems, and the audit log of refusals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope
from structlog import get_logger

from pycalc import errors
from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.formats import EXPECTED
from pycalc.models.json_text import pointer_step, shown
from pycalc.models.problems import PROBLEM_MEDIA_TYPE
from pycalc.observability.requests import context_of, header, request_id_of
from pycalc.routers.http.connection import ClientGone
from pycalc.routers.http.credentials import KEY_PREFIX, token_of
from pycalc.routers.http.deps import resources_of, route_of
from pycalc.routers.http.headers import rate_limit_fields, with_default_headers
from pycalc.routers.http.problem_types import STATUS, UNEXPECTED, instance_of, problem_body

CLIENT_GONE = 499  # nginx's status for a client that disconnected; only metrics and traces show it

_log = get_logger(__name__)

AUDITED = frozenset({401, 403, 429})  # the statuses of refusals that are audited

# What an input is called, by the first step of a validation error's location.
_PARTS = {
    "body": "member",
    "query": "query parameter",
    "path": "path parameter",
    "header": "header field",
    "argument": "argument",  # of a tool of language models
}
_SENTENCES = {
    "missing": "{name} is missing: it is required.",
    "extra_forbidden": "There is no {part} {name}: leave it out, or correct its name.",
    "string_too_long": "{name} must have at most {max_length:,} characters.",
    **dict.fromkeys(("string_type", "string_unicode"), "{name} must be a string."),
    **dict.fromkeys(("model_attributes_type", "model_type"), "{name} must be a JSON object."),
    EXPECTED: "{name} must be {what}.",
}
_OTHERWISE = "{name} is not of the documented form: see /docs for what is expected."


def _headers(error: errors.PycalcError, scope: Scope) -> dict[str, str]:
    """Return the header fields that tell programs more about an error."""
    if isinstance(error, errors.Unauthorized):
        reason = ', error="invalid_token"' if isinstance(error, errors.InvalidToken) else ""
        return {"WWW-Authenticate": f'Bearer realm="pycalc"{reason}'}
    if isinstance(error, errors.MissingScope):  # RFC 6750 section 3.1
        return {"WWW-Authenticate": f'Bearer realm="pycalc", error="insufficient_scope", scope="{error.scope}"'}
    if isinstance(error, errors.RetryLater):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, errors.MethodNotAllowed):
        return {"Allow": ", ".join(error.methods)}
    if isinstance(error, errors.UnsupportedCoding):
        return {"Accept-Encoding": ", ".join(error.accepted)}
    if isinstance(error, errors.UnsupportedMediaType):
        return {"Accept": ", ".join(error.accepted)}
    if isinstance(error, errors.RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.length}"}
    return {"X-Request-ID": request_id_of(scope)} if error.code == "internal-error" else {}


async def response_to(request: Request, error: Exception) -> Response:
    """Return the response to an error. Write a refusal to the audit log, and log an error that is unexpected."""
    scope = request.scope
    if isinstance(error, RequestValidationError):
        error = invalid_input(error.errors())
    elif isinstance(error, HTTPException) and error.status_code == 404:
        error = errors.NotFound("There is no such path.")
    elif isinstance(error, HTTPException) and error.status_code == 405:
        known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        methods = tuple(method for method in known if _is_allowed(request, method))
        detail = "The path does not support this method; Allow lists the methods that it supports."
        error = errors.MethodNotAllowed(detail, methods)
    elif not isinstance(error, errors.PycalcError):
        _log.error("unexpected error", path=request.url.path, exc_info=error)
        error = UNEXPECTED
    status = STATUS[error.code]
    if status in AUDITED:
        audit_refusal(scope, status, error.detail)
    body = to_json(problem_body(error, instance_of(scope)))
    response = Response(body, status, _headers(error, scope), PROBLEM_MEDIA_TYPE)
    limits = error.limits if isinstance(error, errors.RateLimited) else context_of(scope).limits
    if isinstance(error, errors.QuotaExceeded):
        limits = (*limits, error.quota)
    response.raw_headers = with_default_headers([*response.raw_headers, *rate_limit_fields(limits)])
    return response


def _is_allowed(request: Request, method: str) -> bool:
    method = "GET" if method == "HEAD" else method
    scope = {"type": "http", "path": request.scope["path"], "root_path": "", "headers": [], "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Return the response to an error that the framework raises again and the server logs."""
    if isinstance(error, ClientGone):  # the framework drops this response if another one has begun
        return Response(status_code=CLIENT_GONE)
    return await response_to(request, UNEXPECTED)


def install_problems(app: FastAPI) -> None:
    """Register the handlers that turn every error of the application, except ClientGone, into an RFC 9457 problem."""
    for kind in (errors.PycalcError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, response_to)
    app.add_exception_handler(Exception, _unexpected)


def audit_refusal(scope: Scope, status: int, reason: str) -> None:
    """Write a refused request to the audit log. ``status`` is the status of its response."""
    resources, context = resources_of(scope), context_of(scope)
    caller, token = context.caller, token_of(scope)
    if caller is not None:
        credential = "key" if caller.is_key else "session"
    elif token:  # an invalid token
        credential = "key" if token.startswith(KEY_PREFIX) else "token"
    else:
        credential = "none" if header(scope, b"x-bootstrap-token") is None else "bootstrap token"
    tried = {} if context.tried is None else {"tried": context.tried}
    resources.refusal_log.refused(
        caller.username if caller else None,
        resources.addresses.of(scope),
        status=status,
        method=scope["method"],
        route=route_of(scope) or "(none)",
        reason=reason,
        credential=credential,
        **tried,
    )


def invalid_input(found: Iterable[Any]) -> InvalidInput:
    """Return the InvalidInput for the errors that pydantic's validation has found."""
    problems = []
    for entry in found:
        part, *steps = entry["loc"]
        context, form = entry.get("ctx", {}), _SENTENCES.get(entry["type"], _OTHERWISE)
        if not steps and entry["type"] == "missing":
            form = "The body is missing: send a JSON object."
        elif entry["type"] == "value_error":  # from this project's validators, whose messages follow the name
            form = "{name} {error}."
        name = shown(str(steps[-1])) if steps else "The body"
        detail = form.format(name=name, part=_PARTS.get(part, "parameter"), **context)
        problems.append(FieldProblem("".join(pointer_step(str(step)) for step in steps), detail))
    return InvalidInput.of(*problems)
