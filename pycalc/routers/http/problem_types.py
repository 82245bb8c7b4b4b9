"""The problem types (RFC 9457): their statuses, their bodies, and their entries in the OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope
from structlog import get_logger

from pycalc import errors
from pycalc.models.formats import timestamp
from pycalc.models.json_text import LARGEST_JSON_INTEGER
from pycalc.models.problems import PROBLEM_MEDIA_TYPE
from pycalc.routers.http.connection import BODY_BROKEN, BODY_TOO_SLOW, MAX_BODY_BYTES, body_too_large
from pycalc.services.operations.numbers.gmp import text_of

TYPE_BASE = "/docs/problems#"

_SLUGS: Mapping[int, Sequence[str]] = {
    400: ["bad-request"],
    401: ["unauthorized", "totp-required"],
    403: ["forbidden"],
    404: ["not-found"],
    405: ["method-not-allowed"],
    408: ["request-timeout"],
    409: ["conflict"],
    412: ["precondition-failed"],
    413: ["payload-too-large"],
    415: ["unsupported-media-type"],
    416: ["range-not-satisfiable"],
    422: ["validation-error", "domain-error", "result-too-large"],
    429: ["rate-limited", "quota-exceeded"],
    500: ["internal-error"],
    503: ["overloaded", "unavailable"],
    504: ["computation-timeout"],
}
STATUS: Mapping[str, int] = {slug: status for status, slugs in _SLUGS.items() for slug in slugs}
MAX_ERRORS = 20  # listed in a response; a body may have hundreds
MAX_ECHO = 1024  # characters of a path or a field's name that a response repeats
MEANING: Mapping[str, str] = {
    "bad-request": "The request's body broke off, its framing is not valid HTTP, or it has not exactly one Host.",
    "validation-error": "A part of the request is missing, unknown, repeated or not accepted; `errors` says where.",
    "domain-error": "The operation has no value for these operands; in an expression, `errors` says where.",
    "result-too-large": "The result has more digits than are written out: `digits`, `limit`, `leading`, `trailing`.",
    "precondition-failed": "`If-Match` names no current ETag of what was asked for; nothing was done or recorded.",
    "range-not-satisfiable": "The range begins beyond the end; `Content-Range` tells the length. Nothing was recorded.",
    "unauthorized": "Valid credentials are needed: a token, a key, or the right password.",
    "totp-required": "The password is right, and the account needs a code too: send it as `totp`.",
    "forbidden": "The token is valid and does not allow this, or a password or a code is wrong; `detail` says which.",
    "not-found": "There is no such resource.",
    "method-not-allowed": "The resource does not know this method; `Allow` lists those it does.",
    "request-timeout": "The request's body came too slowly.",
    "conflict": "The request contradicts what is stored: for example, a name or an `Idempotency-Key` is taken.",
    "payload-too-large": "The body has more than `limit` bytes, or the results of a batch are too long together.",
    "unsupported-media-type": "The body is of a type that the route does not take; `Accept` lists what to send.",
    "rate-limited": "Too many requests; `Retry-After` says when to come back.",
    "quota-exceeded": "Too little of `quota` is left: `limit`, `used`, `resets_at`. Nothing was recorded.",
    "computation-timeout": "Stopped at a limit of time or memory; `found` has the prime factors found by then.",
    "overloaded": "A bounded queue or the memory is full; `Retry-After` says when to come back.",
    "unavailable": "A dependency does not answer; nothing was done, unless `detail` says that this is not known.",
    "internal-error": "A fault of the service. Tell the operator, whose log has the details.",
}
# Stands for an exception that is no domain error, and that is logged where it is handled.
UNEXPECTED = errors.PycalcError("An unexpected error was logged; tell the operator the X-Request-ID of this response.")
_PATH_CHARACTERS = "/:@!$&'()*+,;="  # allowed in a path beside the unreserved characters (RFC 3986 §3.3)
_ESCAPED_SLASH = re.compile(b"%2[fF]")  # stays escaped, because it separates no segments

_log = get_logger(__name__)


def responses(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problem types ``slugs``, by status.

    A route need not declare the types that follow from its method, its body and its authentication.
    """
    found: dict[int | str, dict[str, Any]] = {}
    for status, of_status in _SLUGS.items():
        if wanted := [slug for slug in of_status if slug in slugs]:
            content = {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {slug: {"value": _EXAMPLES[slug]} for slug in wanted},
            }
            description = " ".join(f"`{slug}`: {MEANING[slug]}" for slug in wanted)
            found[status] = {"description": description, "content": {PROBLEM_MEDIA_TYPE: content}}
    return found


def instance_of(scope: Scope) -> str:
    """Return a request's path as a URI reference for ``instance``, cut to MAX_ECHO characters."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    parts = (unquote_to_bytes(part).decode(errors="replace") for part in _ESCAPED_SLASH.split(raw[:MAX_ECHO]))
    path = "%2F".join(quote(part, safe=_PATH_CHARACTERS) for part in parts) or "/"
    # After two slashes, the first segment would be read as a host (RFC 3986 §4.2).
    return "/." + path if path.startswith("//") else path


def problem_body(error: errors.PycalcError, instance: str) -> dict[str, object]:
    """Return the body of a problem for a domain error. Log an internal error, unless it is UNEXPECTED."""
    detail, members = error.detail, dict[str, object]()
    if error.code == "internal-error" and error is not UNEXPECTED:
        detail = "The service made an error; tell the operator, whose log has the details."
        _log.error("internal error", path=instance, error=type(error).__name__)
    if isinstance(error, errors.PayloadTooLarge) and error.limit is not None:
        members["limit"] = error.limit
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
    known = {"type": TYPE_BASE + error.code, "title": error.title, "status": STATUS[error.code]}
    return {**known, "detail": detail, "instance": instance, **members}


# Examples of errors in the OpenAPI document, and the paths of those that are no responses to POST /evaluate.
_PATHS = {
    "domain-error": "/pow/0/-1",
    "result-too-large": "/fibonacci/1000000000000000000",
    "precondition-failed": "/openapi.json",
    "range-not-satisfiable": "/fibonacci/100",
    "payload-too-large": "/login",
    "totp-required": "/login",
    "not-found": "/users/ada",
    "conflict": "/register",
}
_ERRORS = (
    errors.BadRequest(BODY_BROKEN),
    errors.InvalidInput.of(
        errors.FieldProblem("/expression", 'expression must be a string such as "3^(10^12) mod 10^20".')
    ),
    errors.DomainError("0 has no negative powers."),
    errors.ResultTooLarge(
        "The result has more than 25,000,000 digits, too many to write out: ask for a smaller result.",
        *(208_987_640_249_978_734, 25_000_000, "26289788186792204674", "41183788299560546875"),
    ),
    errors.PreconditionFailed("If-Match names no current ETag: send no If-Match."),
    errors.RangeNotSatisfiable(
        "The range begins beyond the end of the result, which has 21 bytes: request an earlier range.", 21
    ),
    errors.Unauthorized("Send a token (Authorization: Bearer ...), or an API key as the password of HTTP Basic."),
    errors.TotpRequired("The password is right; this account needs a code too: send it as `totp`."),
    errors.Forbidden("The API key lacks the scope calculate: use a key that has it, or log in."),
    errors.NotFound("There is no such user."),
    errors.MethodNotAllowed("The path does not support this method; Allow lists the methods that it supports.", ()),
    errors.RequestTimeout(BODY_TOO_SLOW),
    errors.Conflict("The username or the email address is taken."),
    body_too_large(MAX_BODY_BYTES),
    errors.UnsupportedMediaType(
        "The body is of a type that this route does not take: send Content-Type: application/json.", ()
    ),
    errors.RateLimited("No more than 6,000 calculations a minute."),
    errors.QuotaExceeded(
        "No more than 300 seconds of computing an hour: wait for the reset.",
        errors.LimitState(300, 3600, 0, 1376, "compute"),
        used=300.02,
        resets_at=1_795_986_000,
    ),
    errors.ComputationTimeout("This was stopped after 30 s: ask for smaller operands."),
    errors.Overloaded("The service is overloaded; retry in 1 s."),
    errors.Unavailable("The database does not answer in time; retry in 1 s."),
    UNEXPECTED,
)
_EXAMPLES = {error.code: problem_body(error, _PATHS.get(error.code, "/evaluate")) for error in _ERRORS}
