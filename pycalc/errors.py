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
    ├── NotFound                not-found
    ├── Conflict                conflict               the request contradicts the stored state or a concurrent change
    ├── PayloadTooLarge         payload-too-large
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

Worker processes return errors by pickle, so every constructor argument is positional and is stored in ``args``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

_MOST_IN_DETAIL = 3


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


class PycalcError(Exception):
    """The base class of the domain's errors.

    ``detail`` is a sentence for the client. The response to an internal error does not show ``detail``.
    """

    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *facts: object) -> None:
        super().__init__(detail, *facts)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class InvalidInput(PycalcError):
    """A part of the request is not accepted, such as an operand, an option or a header field."""

    code = "validation-error"
    title = "The input is not valid"

    def __init__(self, detail: str, problems: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(detail, problems)
        self.problems = problems

    @classmethod
    def of(cls, *problems: FieldProblem) -> InvalidInput:
        """Return an error that lists ``problems``. If there are more than three, ``detail`` only gives their number."""
        if len(problems) <= _MOST_IN_DETAIL:
            return cls(" ".join(problem.detail for problem in problems), problems)
        return cls(f"The request has {len(problems):,} errors: `errors` says where, and what was expected.", problems)


class DomainError(PycalcError):
    """The operation is not defined for these operands."""

    code = "domain-error"
    title = "The operation is not defined for these operands"

    def __init__(self, detail: str, problems: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(detail, problems)
        self.problems = problems


class ResultTooLarge(PycalcError):
    """The result, or a part of an expression, has or may have more than ``limit`` digits.

    ``digits`` is the number of the result's digits, ``leading`` has the first 20 and ``trailing`` the last 20 of them.
    Each is None if it is unknown.
    """

    code = "result-too-large"
    title = "The result is too large to write out"

    def __init__(
        self,
        detail: str,
        digits: int | None,
        limit: int,
        leading: str | None,
        trailing: str | None,
        problems: tuple[FieldProblem, ...] = (),
    ) -> None:
        super().__init__(detail, digits, limit, leading, trailing, problems)
        self.digits = digits
        self.limit = limit
        self.leading = leading
        self.trailing = trailing
        self.problems = problems


class Unauthorized(PycalcError):
    """The request has no valid credentials."""

    code = "unauthorized"
    title = "Valid credentials are needed"


class InvalidToken(Unauthorized):
    """The access token or API key is not valid, or its account was deleted or changed during the request."""


class RefreshTokenReused(Unauthorized):
    """A replaced refresh token was used. The token may be stolen, so the session ``session_id`` was ended."""

    def __init__(self, detail: str, session_id: bytes) -> None:
        super().__init__(detail, session_id)
        self.session_id = session_id


class TotpRequired(Unauthorized):
    """The password of a login is right, but the code of the second factor is missing."""

    code = "totp-required"
    title = "A code of the authenticator app is needed"


class Forbidden(PycalcError):
    """The caller is not allowed to do this."""

    code = "forbidden"
    title = "Not allowed"


class MissingScope(Forbidden):
    """The caller's API key does not have ``scope``."""

    def __init__(self, detail: str, scope: str) -> None:
        super().__init__(detail, scope)
        self.scope = scope


class WrongPassword(Forbidden):
    """An authenticated caller gave a wrong password or a wrong code."""


class NotFound(PycalcError):
    """The resource does not exist, or the caller may not know of it."""

    code = "not-found"
    title = "Not found"


class Conflict(PycalcError):
    """The request contradicts the stored state or a concurrent change.

    For example, a name is taken, or the last admin would be removed.
    """

    code = "conflict"
    title = "In conflict with the stored state"


class PayloadTooLarge(PycalcError):
    """The results of a batch are too long together. A request whose body is too large gets the same code."""

    code = "payload-too-large"
    title = "The request is too large"


class PreconditionFailed(PycalcError):
    """The request's If-Match does not contain the current ETag of the resource."""

    code = "precondition-failed"
    title = "The condition of If-Match does not hold"


class UnsupportedMediaType(PycalcError):
    """The media type of the request's body is not one of ``accepted``."""

    code = "unsupported-media-type"
    title = "The type of the body is not supported"

    def __init__(self, detail: str, accepted: tuple[str, ...]) -> None:
        super().__init__(detail, accepted)
        self.accepted = accepted


class UnsupportedCoding(UnsupportedMediaType):
    """The content coding of the request's body is not one of ``accepted``."""


class RangeNotSatisfiable(PycalcError):
    """The range begins beyond the end of a representation of ``length`` bytes."""

    code = "range-not-satisfiable"
    title = "There is no such range"

    def __init__(self, detail: str, length: int) -> None:
        super().__init__(detail, length)
        self.length = length


class ComputationTimeout(PycalcError):
    """The computation reached a deadline or its memory limit, or was refused because it would far exceed its deadline.

    ``found`` is the partial result at that time, as JSON, or None if there is none.
    """

    code = "computation-timeout"
    title = "The computation took too long"

    def __init__(self, detail: str, found: str | None = None) -> None:
        super().__init__(detail, found)
        self.found = found


class RetryLater(PycalcError):
    """A temporary condition; the client may retry after ``retry_after`` seconds."""

    def __init__(self, detail: str, retry_after: int = 1, *facts: object) -> None:
        super().__init__(detail, retry_after, *facts)
        self.retry_after = retry_after


class StillRunning(RetryLater):
    """A request with the same idempotency key is still running, or the key has just expired."""

    code = "conflict"
    title = Conflict.title


class RateLimited(RetryLater):
    """The caller has reached a rate limit, or has too many login attempts in progress.

    ``limits`` are the states of the rate limit's windows, or empty if the response does not show them.
    """

    code = "rate-limited"
    title = "Too many requests"

    def __init__(self, detail: str, retry_after: int = 1, limits: tuple[LimitState, ...] = ()) -> None:
        super().__init__(detail, retry_after, limits)
        self.limits = limits


class QuotaExceeded(RetryLater):
    """The caller has used up a quota, or needs more than is left of it.

    ``used`` is in the quota's unit, ``resets_at`` in seconds since the epoch.
    """

    code = "quota-exceeded"
    title = "A quota is used up"

    def __init__(self, detail: str, quota: LimitState, used: float, resets_at: int) -> None:
        PycalcError.__init__(self, detail, quota, used, resets_at)
        self.retry_after = quota.reset
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


class StoreUnavailable(Unavailable):
    """The database can't be used or written now. ``reason`` is for logs: ``str`` shows it, ``detail`` does not."""

    def __init__(self, detail: str, retry_after: int = 1, reason: str = "") -> None:
        super().__init__(detail, retry_after, reason)
        self.reason = reason

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
    """Requests were not recorded, because requests with the same idempotency keys are recorded already.

    ``ids`` are the ids of these keys.
    """

    def __init__(self, detail: str, ids: frozenset[bytes]) -> None:
        super().__init__(detail, ids)
        self.ids = ids


class EventsRefused(PycalcError):
    """The stream has stored a batch except the events in ``refused``, which it will never accept.

    ``refused`` maps their ids to the reasons.
    """

    def __init__(self, detail: str, refused: Mapping[bytes, str]) -> None:
        super().__init__(detail, refused)
        self.refused = refused


class VerificationFailed(PycalcError):
    """A computed result failed its verification, or differs from the recorded result. It must not be sent."""
