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
from typing import ClassVar, NamedTuple, dataclass_transform


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


@dataclass_transform(eq_default=False)
class _Fields(Exception):
    """A base that makes a dataclass of each subclass, and takes ``code`` and ``title`` from the class's header."""

    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"

    def __init_subclass__(cls, code: str = "", title: str = "") -> None:
        dataclass(eq=False, repr=False)(cls)
        cls.code, cls.title = code or cls.code, title or cls.title


class PycalcError(_Fields):
    """The base class of the domain's errors."""

    detail: str  # a sentence for the client; the response to an internal error does not show it

    def __post_init__(self) -> None:
        super().__init__(*vars(self).values())  # becomes ``args``

    def __str__(self) -> str:
        return self.detail


class InvalidInput(PycalcError, code="validation-error", title="The input is not valid"):
    """A part of the request is not accepted, such as an operand, an option or a header field."""

    problems: tuple[FieldProblem, ...] = ()

    @classmethod
    def of(cls, *problems: FieldProblem) -> InvalidInput:
        """Return an error that lists ``problems``. If there are more than three, ``detail`` only gives their number."""
        if len(problems) <= 3:
            return cls(" ".join(problem.detail for problem in problems), problems)
        return cls(f"The request has {len(problems):,} errors: `errors` says where, and what was expected.", problems)


class DomainError(PycalcError, code="domain-error", title="The operation is not defined for these operands"):
    """The operation is not defined for these operands."""

    problems: tuple[FieldProblem, ...] = ()


class ResultTooLarge(PycalcError, code="result-too-large", title="The result is too large to write out"):
    """The result, or a part of an expression, has or may have more than ``limit`` digits."""

    digits: int | None  # the number of the result's digits, or None if it is unknown
    limit: int
    leading: str | None  # the first 20 digits, or None if they are unknown
    trailing: str | None  # likewise the last 20
    problems: tuple[FieldProblem, ...] = ()


class Unauthorized(PycalcError, code="unauthorized", title="Valid credentials are needed"):
    """The request has no valid credentials."""


class InvalidToken(Unauthorized):
    """The access token or API key is not valid, or its account was deleted or changed during the request."""


class RefreshTokenReused(Unauthorized):
    """A replaced refresh token was used. The token may be stolen, so the session ``session_id`` was ended."""

    session_id: bytes


class TotpRequired(Unauthorized, code="totp-required", title="A code of the authenticator app is needed"):
    """The password of a login is right, but the code of the second factor is missing."""


class Forbidden(PycalcError, code="forbidden", title="Not allowed"):
    """The caller is not allowed to do this."""


class MissingScope(Forbidden):
    """The caller's API key does not have ``scope``."""

    scope: str


class WrongPassword(Forbidden):
    """An authenticated caller gave a wrong password or a wrong code."""


class NotFound(PycalcError, code="not-found", title="Not found"):
    """The resource does not exist, or the caller may not know of it."""


class BadRequest(PycalcError, code="bad-request", title="The request could not be read"):
    """The request's body broke off, its framing is not valid HTTP, or it has not exactly one Host."""


class MethodNotAllowed(PycalcError, code="method-not-allowed", title="Method not allowed"):
    """The resource supports only ``methods``."""

    methods: tuple[str, ...]


class RequestTimeout(PycalcError, code="request-timeout", title="The request came too slowly"):
    """The request's body came too slowly."""


class Conflict(PycalcError, code="conflict", title="In conflict with the stored state"):
    """The request contradicts the stored state or a concurrent change. For example, a name is taken."""


class PayloadTooLarge(PycalcError, code="payload-too-large", title="The request is too large"):
    """The request's body has more than ``limit`` bytes, or the results of a batch are too long together."""

    limit: int | None = None  # None for the results of a batch


class PreconditionFailed(PycalcError, code="precondition-failed", title="The condition of If-Match does not hold"):
    """The request's If-Match does not contain the current ETag of the resource."""


class UnsupportedMediaType(PycalcError, code="unsupported-media-type", title="The type of the body is not supported"):
    """The media type of the request's body is not one of ``accepted``."""

    accepted: tuple[str, ...]


class UnsupportedCoding(UnsupportedMediaType):
    """The content coding of the request's body is not one of ``accepted``."""


class RangeNotSatisfiable(PycalcError, code="range-not-satisfiable", title="There is no such range"):
    """The range begins beyond the end of a representation of ``length`` bytes."""

    length: int


class ComputationTimeout(PycalcError, code="computation-timeout", title="The computation took too long"):
    """The computation reached a deadline or its memory limit, or was refused because it would far exceed a deadline."""

    found: str | None = None  # the partial result at that time, as JSON, or None if there is none


class RetryLater(PycalcError):
    """A temporary condition; the client may retry after ``retry_after`` seconds."""

    retry_after: int = 1


class StillRunning(RetryLater, code="conflict", title=Conflict.title):
    """A request with the same idempotency key is still running, or the key has just expired."""


class RateLimited(RetryLater, code="rate-limited", title="Too many requests"):
    """The caller has reached a rate limit, or has too many login attempts in progress."""

    limits: tuple[LimitState, ...] = ()  # the rate limit's windows; empty if the response does not show them


class QuotaExceeded(RetryLater, code="quota-exceeded", title="A quota is used up"):
    """The caller has used up a quota, or needs more than is left of it.

    ``used`` is in the quota's unit, ``resets_at`` in seconds since the epoch.
    """

    def __init__(self, detail: str, quota: LimitState, used: float, resets_at: int) -> None:
        super().__init__(detail, quota.reset)
        self.args = (detail, quota, used, resets_at)  # for pickle
        self.quota = quota
        self.used = used
        self.resets_at = resets_at


class Overloaded(RetryLater, code="overloaded", title="The service is busy"):
    """A queue, the memory or a concurrency limit is full, or running requests reserve the rest of a quota."""


class Unavailable(RetryLater, code="unavailable", title="The service is not available"):
    """The service can't do this now: for example, a dependency does not answer, or the service is shutting down."""


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


class KeysTaken(PycalcError):
    """Requests were not recorded, because requests with the same idempotency keys are recorded already."""

    ids: frozenset[bytes]  # of these keys


class EventsRefused(PycalcError):
    """The stream has stored a batch except the events in ``refused``, which it will never accept."""

    refused: Mapping[bytes, str]  # the reasons by the ids of the events


class VerificationFailed(PycalcError):
    """A computed result failed its verification, or differs from the recorded result. It must not be sent."""
