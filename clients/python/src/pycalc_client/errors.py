"""The exceptions of the client: one for each problem type of the service, with its fields.

The tree::

    PycalcError
    ├── ConnectionFailed            no answer: the connection failed, or the deadline passed
    ├── UnexpectedAnswer            the answer is not of the service's form: is the URL right?
    ├── DigestMismatch              downloaded digits do not have the digest that the service stated
    ├── NotLoaded                   a long result of AsyncClient is not in memory: await its load() first
    └── ProblemError                the service reports a problem (RFC 9457); also for unknown types
        ├── BadRequest              bad-request
        ├── ValidationError         validation-error        errors
        ├── DomainError             domain-error            errors
        ├── ResultTooLarge          result-too-large        digits, limit, leading, trailing, errors
        ├── PreconditionFailed      precondition-failed
        ├── RangeNotSatisfiable     range-not-satisfiable
        ├── Unauthorized            unauthorized
        │   └── TotpRequired        totp-required           the password is right, and a code is missing
        ├── Forbidden               forbidden
        ├── NotFound                not-found
        ├── MethodNotAllowed        method-not-allowed
        ├── RequestTimeout          request-timeout
        ├── Conflict                conflict
        ├── PayloadTooLarge         payload-too-large       limit
        ├── UnsupportedMediaType    unsupported-media-type
        ├── RateLimited             rate-limited
        ├── QuotaExceeded           quota-exceeded          quota, limit, used, resets_at
        ├── ComputationTimeout      computation-timeout     factors
        ├── Overloaded              overloaded
        ├── Unavailable             unavailable
        └── InternalError           internal-error

Every ProblemError has ``type``, ``title``, ``status``, ``detail``, ``instance``, ``retry_after`` (seconds, or None) and
``members`` (the whole problem as the service sent it).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, NamedTuple

import httpx

from pycalc_client.numbers import Factor, factor_of

_TYPE_BASE = "/docs/problems#"
_classes: dict[str, type[ProblemError]] = {}


class PycalcError(Exception):
    """The base class of all exceptions of the client."""


class ConnectionFailed(PycalcError):
    """The service did not answer: the connection failed or was cut, or the deadline passed."""


class UnexpectedAnswer(PycalcError):
    """An answer does not have the service's form, for example because the URL leads to another program."""


class DigestMismatch(PycalcError):
    """Downloaded digits do not have the SHA-256 that the service stated."""


class NotLoaded(PycalcError):
    """A long result of an AsyncClient is not in memory; ``await calculation.load()`` downloads it."""


class FieldError(NamedTuple):
    """One invalid field: a JSON pointer into the input, a description, and the position of the wrong character."""

    pointer: str
    detail: str
    position: int | None = None


class ProblemError(PycalcError):
    """A problem that the service reports; each known problem type has a subclass."""

    slug: ClassVar[str] = ""

    def __init__(self, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(problem, retry_after)
        self.members = problem
        self.retry_after = retry_after
        self.type: str = problem.get("type", "about:blank")
        self.title: str = problem.get("title", "")
        self.status: int = problem.get("status", 0)
        self.detail: str = problem.get("detail", "")
        self.instance: str = problem.get("instance", "")

    def __init_subclass__(cls) -> None:
        _classes[cls.slug] = cls

    def __str__(self) -> str:
        return self.detail or self.title or f"The service answered with status {self.status}."

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """Return the invalid fields that the problem names."""
        listed = self.members.get("errors", ())
        return tuple(FieldError(each["pointer"], each["detail"], each.get("position")) for each in listed)


class BadRequest(ProblemError):
    """The request is malformed: its body ended early, its framing is invalid, or it has no Host field or several."""

    slug = "bad-request"


class ValidationError(ProblemError):
    """The service does not accept a part of the request, such as an operand; ``errors`` says which and why."""

    slug = "validation-error"


class DomainError(ProblemError):
    """The operation has no value for these operands; in an expression, ``errors`` says where."""

    slug = "domain-error"


class ResultTooLarge(ProblemError):
    """The result, or a part of an expression, has or may have more than ``limit`` digits.

    ``digits``, ``leading`` and ``trailing`` are its size, first and last digits, where the service can give them.
    """

    slug = "result-too-large"

    def __init__(self, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(problem, retry_after)
        self.limit: int | None = problem.get("limit")
        self.digits: int | None = int(problem["digits"]) if "digits" in problem else None
        self.leading: str | None = problem.get("leading")
        self.trailing: str | None = problem.get("trailing")


class PreconditionFailed(ProblemError):
    """The request's If-Match does not name the current ETag."""

    slug = "precondition-failed"


class RangeNotSatisfiable(ProblemError):
    """The range begins beyond the end of the digits."""

    slug = "range-not-satisfiable"


class Unauthorized(ProblemError):
    """The credentials are missing, wrong, expired or revoked."""

    slug = "unauthorized"


class TotpRequired(Unauthorized):
    """The password is right, and the account also needs a code of its authenticator app: pass ``totp``."""

    slug = "totp-required"


class Forbidden(ProblemError):
    """The caller may not do this, or a password or code is wrong; ``detail`` says why, and names a missing scope."""

    slug = "forbidden"


class NotFound(ProblemError):
    """The resource does not exist, or the caller may not see it."""

    slug = "not-found"


class MethodNotAllowed(ProblemError):
    """The resource does not support the request's method."""

    slug = "method-not-allowed"


class RequestTimeout(ProblemError):
    """The request's body arrived too slowly."""

    slug = "request-timeout"


class Conflict(ProblemError):
    """The request contradicts the stored state: for example, a name is taken.

    Another cause is an Idempotency-Key that has just expired, or whose first request is still running.
    """

    slug = "conflict"


class PayloadTooLarge(ProblemError):
    """The request's body has more than ``limit`` bytes, or the results of a batch are too long together."""

    slug = "payload-too-large"

    def __init__(self, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(problem, retry_after)
        self.limit: int | None = problem.get("limit")


class UnsupportedMediaType(ProblemError):
    """The request's body has a content type or a content coding that the service does not accept."""

    slug = "unsupported-media-type"


class RateLimited(ProblemError):
    """Too many requests; ``retry_after`` says how many seconds to wait."""

    slug = "rate-limited"


class QuotaExceeded(ProblemError):
    """The quota named ``quota`` is used up, or less is left of it than the request needs.

    ``used`` of ``limit`` are used. The quota begins anew at ``resets_at``.
    """

    slug = "quota-exceeded"

    def __init__(self, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(problem, retry_after)
        self.quota: str = problem["quota"]
        self.limit: float = problem["limit"]
        self.used: float = problem["used"]
        self.resets_at: datetime = datetime.fromisoformat(problem["resets_at"])


class ComputationTimeout(ProblemError):
    """The computation reached its deadline or its memory limit, or was refused because it would take far too long.

    ``factors`` are those that a factorization had found at its deadline.
    """

    slug = "computation-timeout"

    def __init__(self, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(problem, retry_after)
        self.factors: list[Factor] = [factor_of(found) for found in problem.get("found", ())]


class Overloaded(ProblemError):
    """A queue, the memory or a limit on concurrent work is full, or running requests reserve the rest of a quota."""

    slug = "overloaded"


class Unavailable(ProblemError):
    """The service can't do this now: for example, a dependency does not answer, or the service is shutting down."""

    slug = "unavailable"


class InternalError(ProblemError):
    """An internal error of the service."""

    slug = "internal-error"


def problem_error(problem: Mapping[str, Any], retry_after: float | None = None) -> ProblemError:
    """Return the exception for a problem's JSON.

    It is a plain ProblemError if the type is unknown, or if a field is missing or malformed.
    """
    kind = str(problem.get("type", ""))
    chosen = _classes.get(kind.removeprefix(_TYPE_BASE), ProblemError)
    try:
        return chosen(problem, retry_after)
    except (KeyError, TypeError, ValueError):
        return ProblemError(problem, retry_after)


def error_of(response: httpx.Response) -> PycalcError:
    """Return the exception for an unsuccessful response whose body was read.

    It is an UnexpectedAnswer for a redirect, or else a ProblemError, even if the body is not a problem's JSON.
    """
    if response.has_redirect_location:
        location = response.headers["location"]
        return UnexpectedAnswer(f"The address redirects to {location}: use the address of the service itself.")
    problem: object = None
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        try:
            problem = response.json()
        except ValueError:
            problem = None
    if not isinstance(problem, dict):
        problem = {"status": response.status_code, "title": response.reason_phrase}
    return problem_error(problem, retry_after_of(response.headers))


def retry_after_of(headers: httpx.Headers) -> float | None:
    """Return the seconds that a Retry-After field asks to wait; None if it is absent or malformed.

    A date is compared with the response's own Date field, so that a wrong clock on either side does not matter.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None
