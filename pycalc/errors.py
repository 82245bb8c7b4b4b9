"""The domain's errors, independent of HTTP: each has a code (the problem type's slug), a title and a detail.

The tree::

    PycalcError                 internal-error
    ├── InvalidInput            validation-error       a part of the request is not accepted
    ├── DomainError             domain-error           the operation is not defined for these operands
    ├── ResultTooLarge          result-too-large       the result has, or may have, more digits than the limit
    ├── Unauthorized            unauthorized
    │   ├── InvalidToken                               the access token or API key is not valid
    │   ├── RefreshTokenReused                         carries the id of the ended session
    │   └── TotpRequired        totp-required          the password is right, and a code is missing
    ├── Forbidden               forbidden
    │   ├── MissingScope                               carries the scope that the API key lacks
    │   └── WrongPassword                              an authenticated caller gave a wrong password or code
    ├── BadRequest              bad-request            the request's framing is not valid HTTP, or its body broke off
    ├── NotFound                not-found
    ├── MethodNotAllowed        method-not-allowed     carries the methods that are allowed
    ├── RequestTimeout          request-timeout        the request's body came too slowly
    ├── Conflict                conflict               the request contradicts the stored state or a concurrent change
    ├── PayloadTooLarge         payload-too-large      carries the limit of a body
    ├── PreconditionFailed      precondition-failed
    ├── UnsupportedMediaType    unsupported-media-type  carries the types that are accepted
    │   └── UnsupportedCoding                          carries the content codings that are accepted
    ├── RangeNotSatisfiable     range-not-satisfiable  carries the representation's length
    ├── ComputationTimeout      computation-timeout    the computation exceeds a deadline or its memory limit
    ├── KeysTaken               internal-error         requests with the same idempotency keys are recorded
    ├── RetryLater                                     carries ``retry_after``, seconds
    │   ├── StillRunning        conflict               a request with the same idempotency key has not ended yet
    │   ├── RateLimited         rate-limited
    │   ├── QuotaExceeded       quota-exceeded         carries the quota's name, limit, used amount and reset time
    │   ├── Overloaded          overloaded             a bounded queue or a concurrency limit is full
    │   └── Unavailable         unavailable            a dependency does not answer
    │       ├── StoreUnavailable
    │       │   ├── StoreReadOnly                      the database answers reads and refuses writes
    │       │   └── OutcomeUnknown                     a write was begun; its outcome is not known
    │       ├── CacheUnavailable
    │       │   └── AnswerLost                         a command was sent; its reply is late
    │       └── StreamUnavailable
    ├── RowsRejected            internal-error         the database rejects rows for their values
    ├── EventsRefused           internal-error         the stream rejects some events permanently
    └── VerificationFailed      internal-error         a result failed its verification

Worker processes return errors by pickle, so ``args`` has every argument of the constructor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple


class FieldProblem(NamedTuple):
    """A problem with one input field."""

    pointer: str  # a JSON pointer (RFC 6901) to the field
    detail: str
    position: int | None = None  # the index of the wrong character in the field's text, from 0, or None if unknown


class LimitState(NamedTuple):
    """The state of a rate limit or quota."""

    amount: int
    window: int  # seconds in which ``amount`` may be used
    remaining: int
    reset: int  # seconds until the window ends
    name: str
    unit: str = ""  # the unit of ``amount`` in header fields; empty for calculations


@dataclass(eq=False, repr=False)
class PycalcError(Exception):
    """The base class of the domain's errors."""

    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"

    detail: str  # a sentence for the client; the response to an internal error does not show it

    def __post_init__(self) -> None:
        super().__init__(*vars(self).values())  # becomes ``args``

    def __str__(self) -> str:
        return self.detail


@dataclass(eq=False, repr=False)
class InvalidInput(PycalcError):
    """A part of the request is not accepted, such as an operand, an option or a header field."""

    code = "validation-error"
    title = "The input is not valid"

    problems: tuple[FieldProblem, ...] = ()

    @classmethod
    def of(cls, *problems: FieldProblem) -> InvalidInput:
        """Return an error that lists ``problems``. If there are more than three, ``detail`` only gives their number."""
        if len(problems) <= 3:
            return cls(" ".join(problem.detail for problem in problems), problems)
        return cls(f"The request has {len(problems):,} errors: `errors` says where, and what was expected.", problems)


@dataclass(eq=False, repr=False)
class DomainError(PycalcError):
    """The operation is not defined for these operands."""

    code = "domain-error"
    title = "The operation is not defined for these operands"

    problems: tuple[FieldProblem, ...] = ()


@dataclass(eq=False, repr=False)
class ResultTooLarge(PycalcError):
    """The result, or a part of an expression, has or may have more than ``limit`` digits."""

    code = "result-too-large"
    title = "The result is too large to write out"

    digits: int | None  # the number of the result's digits, or None if it is unknown
    limit: int
    leading: str | None  # the first 20 digits, or None if they are unknown
    trailing: str | None  # likewise the last 20
    problems: tuple[FieldProblem, ...] = ()


class Unauthorized(PycalcError):
    """The request has no valid credentials."""

    code = "unauthorized"
    title = "Valid credentials are needed"


class InvalidToken(Unauthorized):
    """The access token or API key is not valid, or its account was deleted or changed during the request."""


@dataclass(eq=False, repr=False)
class RefreshTokenReused(Unauthorized):
    """A replaced refresh token was used. The token may be stolen, so the session ``session_id`` was ended."""

    session_id: bytes


class TotpRequired(Unauthorized):
    """The password of a login is right, but the code of the second factor is missing."""

    code = "totp-required"
    title = "A code of the authenticator app is needed"


class Forbidden(PycalcError):
    """The caller is not allowed to do this."""

    code = "forbidden"
    title = "Not allowed"


@dataclass(eq=False, repr=False)
class MissingScope(Forbidden):
    """The caller's API key does not have ``scope``."""

    scope: str


class WrongPassword(Forbidden):
    """An authenticated caller gave a wrong password or a wrong code."""


class NotFound(PycalcError):
    """The resource does not exist, or the caller may not know of it."""

    code = "not-found"
    title = "Not found"


class BadRequest(PycalcError):
    """The request's body broke off, its framing is not valid HTTP, or it has not exactly one Host."""

    code = "bad-request"
    title = "The request could not be read"


@dataclass(eq=False, repr=False)
class MethodNotAllowed(PycalcError):
    """The resource supports only ``methods``."""

    code = "method-not-allowed"
    title = "Method not allowed"

    methods: tuple[str, ...]


class RequestTimeout(PycalcError):
    """The request's body came too slowly."""

    code = "request-timeout"
    title = "The request came too slowly"


class Conflict(PycalcError):
    """The request contradicts the stored state or a concurrent change. For example, a name is taken."""

    code = "conflict"
    title = "In conflict with the stored state"


@dataclass(eq=False, repr=False)
class PayloadTooLarge(PycalcError):
    """The request's body has more than ``limit`` bytes, or the results of a batch are too long together."""

    code = "payload-too-large"
    title = "The request is too large"

    limit: int | None = None  # None for the results of a batch


class PreconditionFailed(PycalcError):
    """The request's If-Match does not contain the current ETag of the resource."""

    code = "precondition-failed"
    title = "The condition of If-Match does not hold"


@dataclass(eq=False, repr=False)
class UnsupportedMediaType(PycalcError):
    """The media type of the request's body is not one of ``accepted``."""

    code = "unsupported-media-type"
    title = "The type of the body is not supported"

    accepted: tuple[str, ...]


class UnsupportedCoding(UnsupportedMediaType):
    """The content coding of the request's body is not one of ``accepted``."""


@dataclass(eq=False, repr=False)
class RangeNotSatisfiable(PycalcError):
    """The range begins beyond the end of a representation of ``length`` bytes."""

    code = "range-not-satisfiable"
    title = "There is no such range"

    length: int


@dataclass(eq=False, repr=False)
class ComputationTimeout(PycalcError):
    """The computation reached a deadline or its memory limit, or was refused because it would far exceed a deadline."""

    code = "computation-timeout"
    title = "The computation took too long"

    found: str | None = None  # the partial result at that time, as JSON, or None if there is none


@dataclass(eq=False, repr=False)
class RetryLater(PycalcError):
    """A temporary condition; the client may retry after ``retry_after`` seconds."""

    retry_after: int = 1


class StillRunning(RetryLater):
    """A request with the same idempotency key is still running, or the key has just expired."""

    code = "conflict"
    title = Conflict.title


@dataclass(eq=False, repr=False)
class RateLimited(RetryLater):
    """The caller has reached a rate limit, or has too many login attempts in progress."""

    code = "rate-limited"
    title = "Too many requests"

    limits: tuple[LimitState, ...] = ()  # the rate limit's windows; empty if the response does not show them


class QuotaExceeded(RetryLater):
    """The caller has used up a quota, or needs more than is left of it.

    ``used`` is in the quota's unit, ``resets_at`` in seconds since the epoch.
    """

    code = "quota-exceeded"
    title = "A quota is used up"

    def __init__(self, detail: str, quota: LimitState, used: float, resets_at: int) -> None:
        super().__init__(detail, quota.reset)
        self.args = (detail, quota, used, resets_at)  # for pickle
        self.quota = quota
        self.used = used
        self.resets_at = resets_at


class Overloaded(RetryLater):
    """A queue, the memory or a concurrency limit is full, or running requests reserve the rest of a quota."""

    code = "overloaded"
    title = "The service is busy"


class Unavailable(RetryLater):
    """The service can't do this now: for example, a dependency does not answer, or the service is shutting down."""

    code = "unavailable"
    title = "The service is not available"


@dataclass(eq=False, repr=False)
class StoreUnavailable(Unavailable):
    """The database can't be used or written now."""

    reason: str = ""  # for logs: ``str`` shows it, ``detail`` does not

    def __str__(self) -> str:
        return f"{self.detail} ({self.reason})" if self.reason else self.detail


class StoreReadOnly(StoreUnavailable):
    """The database answers reads but refuses writes."""


class OutcomeUnknown(StoreUnavailable):
    """A write was begun, but it is unknown whether it was committed."""


class CacheUnavailable(Unavailable):
    """The cache can't be used now, or refuses a command. Callers continue without the cache."""


class AnswerLost(CacheUnavailable):
    """The cache's reply to a command is late. The cache may have executed the command, or may execute it later."""


class StreamUnavailable(Unavailable):
    """The event stream can't be used, or events are not being published or consumed.

    Unpublished events stay in the outbox.
    """


class RowsRejected(PycalcError):
    """The database rejects rows because of their values, and has stored none of them. A retry can't succeed."""


@dataclass(eq=False, repr=False)
class KeysTaken(PycalcError):
    """Requests were not recorded, because requests with the same idempotency keys are recorded already."""

    ids: frozenset[bytes]  # of these keys


@dataclass(eq=False, repr=False)
class EventsRefused(PycalcError):
    """The stream has stored a batch except the events in ``refused``, which it will never accept."""

    refused: Mapping[bytes, str]  # the reasons by the ids of the events


class VerificationFailed(PycalcError):
    """A computed result failed its verification, or differs from the recorded result. It must not be sent."""
