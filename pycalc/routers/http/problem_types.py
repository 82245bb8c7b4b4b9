"""The problem types (RFC 9457): their statuses, their bodies, and their entries in the OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope
from structlog import get_logger

from pycalc import errors
from pycalc.models.formats import timestamp
from pycalc.models.history import HISTORY_EXAMPLE
from pycalc.models.json_text import LARGEST_JSON_INTEGER
from pycalc.models.problems import PROBLEM_MEDIA_TYPE
from pycalc.routers.http.connection import BODY_BYTES_A_SECOND, BODY_SECONDS, MAX_BODY_BYTES
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
MEANING: Mapping[str, str] = {
    "bad-request": "The request's body broke off, its framing is not valid HTTP, or it has not exactly one Host.",
    "validation-error": "A part of the request is malformed, missing, unknown or repeated, or its value is not "
    "accepted; `errors` says where.",
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
    "computation-timeout": "The computation was stopped at its deadline or memory limit. `found` has the prime factors "
    "found by then.",
    "overloaded": "A bounded queue or the memory is full; `Retry-After` says when to come back.",
    "unavailable": "A dependency does not answer; nothing was done, unless `detail` says that this is not known.",
    "internal-error": "A fault of the service. Tell the operator, whose log has the details.",
}
_BODY_TIME = f"{BODY_SECONDS:g} s, plus 1 s for every {BODY_BYTES_A_SECOND // 1024} KiB"
# Problems that are no errors of the domain: title and detail.
FRAMEWORK = {
    "bad-request": (
        "The request could not be read",
        "The body ended early, or its framing is not valid HTTP: send the request again.",
    ),
    "method-not-allowed": (
        "Method not allowed",
        "The path does not support this method; Allow lists the methods that it supports.",
    ),
    "request-timeout": ("The request came too slowly", f"The body arrived too slowly: send it within {_BODY_TIME}."),
    "internal-error": (
        errors.PycalcError.title,
        "An unexpected error was logged; tell the operator the X-Request-ID of this response.",
    ),
}
# Examples of errors in the OpenAPI document, and the paths of their requests.
_NOT_NATURAL = errors.FieldProblem("/n", "n must be a whole number of 0 or more, such as 12, 1e6 or 0xFF.")
_ERRORS = (
    errors.InvalidInput.of(_NOT_NATURAL),
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
    errors.Forbidden("The API key lacks the scope history:read: use a key that has it, or log in."),
    errors.NotFound("There is no such calculation."),
    errors.Conflict("The username or the email address is taken."),
    errors.PayloadTooLarge(f"The body is too large: this route accepts up to {MAX_BODY_BYTES:,} bytes."),
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
)
_PATHS = dict.fromkeys(STATUS, "/fibonacci/100") | {
    "bad-request": "/evaluate",
    "validation-error": "/fibonacci/x",
    "domain-error": "/pow/0/-1",
    "result-too-large": "/fibonacci/1000000000000000000",
    "totp-required": "/login",
    "forbidden": "/secure-history",
    "not-found": f"/calculations/{HISTORY_EXAMPLE['id']}",
    "request-timeout": "/evaluate",
    "conflict": "/register",
    "payload-too-large": "/login",
    "unsupported-media-type": "/evaluate",
    "computation-timeout": "/primorial/300000000",
}
_PATH_CHARACTERS = "/:@!$&'()*+,;="  # allowed in a path beside the unreserved characters (RFC 3986 §3.3)
_ESCAPED_SLASH = re.compile(b"%2[fF]")  # stays escaped, because it separates no segments

_log = get_logger(__name__)


def responses(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problem types ``slugs``, by status.

    A route need not declare the types that follow from its method, its body and its authentication.
    """
    by_status: dict[int, list[str]] = {}
    for slug in filter(slugs.__contains__, STATUS):  # in the order of the table
        by_status.setdefault(STATUS[slug], []).append(slug)
    return {
        status: {
            "description": " ".join(f"`{slug}`: {MEANING[slug]}" for slug in of_status),
            "content": {
                PROBLEM_MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {slug: {"value": _EXAMPLES[slug]} for slug in of_status},
                }
            },
        }
        for status, of_status in by_status.items()
    }


def raw_path_of(scope: Scope) -> bytes:
    """Return a request's path as the client has sent it, with its escapes."""
    raw: bytes | None = scope.get("raw_path")
    return raw or quote(scope["path"]).encode()


def path_of(scope: Scope) -> str:
    """Return a request's path, cut to MAX_ECHO characters, with the escapes that RFC 3986 requires."""
    path = raw_path_of(scope)[:MAX_ECHO]
    parts = (unquote_to_bytes(part).decode(errors="replace") for part in _ESCAPED_SLASH.split(path))
    return "%2F".join(quote(part, safe=_PATH_CHARACTERS) for part in parts) or "/"


def instance_of(scope: Scope) -> str:
    """Return a request's path as a URI reference for ``instance``."""
    path = path_of(scope)
    # After two slashes, the first segment would be read as a host (RFC 3986 §4.2).
    return "/." + path if path.startswith("//") else path


def body_of(slug: str, title: str, detail: str, instance: str, **members: object) -> dict[str, object]:
    """Return the body of a problem of the type ``slug``, with ``members`` beside those that every problem has."""
    known = {"type": TYPE_BASE + slug, "title": title, "status": STATUS[slug], "detail": detail, "instance": instance}
    return known | members


def problem_body(error: errors.PycalcError, instance: str) -> dict[str, object]:
    """Return the body of a problem for a domain error. Log an internal error, and omit its detail."""
    if error.code == "internal-error":
        _log.error("internal error", path=instance, error=type(error).__name__)
        detail = "The service made an error; tell the operator, whose log has the details."
        return body_of(error.code, error.title, detail, instance)
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
    return body_of(error.code, error.title, detail, instance, **members)


_EXAMPLES = {error.code: problem_body(error, _PATHS[error.code]) for error in _ERRORS}
_EXAMPLES |= {slug: body_of(slug, title, detail, _PATHS[slug]) for slug, (title, detail) in FRAMEWORK.items()}
_EXAMPLES["payload-too-large"]["limit"] = MAX_BODY_BYTES
