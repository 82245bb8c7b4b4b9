"""The domain's errors: a code (the problem type's slug), a title and a sentence; nothing of HTTP.

The tree::

    PycalcError                 internal-error
    ├── InvalidInput            validation-error       the request is not of the documented form
    ├── DomainError             domain-error           the operation has no real value there
    ├── ResultTooLarge          result-too-large       the result has more digits than the service writes out
    ├── Unauthorized            unauthorized
    │   ├── InvalidToken                               a token was sent: unknown, expired, revoked, its account gone
    │   └── RefreshTokenReused                         carries the session that has ended by it
    ├── Forbidden               forbidden
    │   └── WrongPassword                              of a caller who is known: a guess, perhaps
    ├── NotFound                not-found
    ├── Conflict                conflict               a name is taken, the last admin would go
    ├── PayloadTooLarge         payload-too-large
    ├── PreconditionFailed      precondition-failed
    ├── UnsupportedMediaType    unsupported-media-type  carries the types that are accepted
    │   └── UnsupportedCoding                          carries the content codings that are accepted
    ├── RangeNotSatisfiable     range-not-satisfiable  carries the representation's length
    ├── ComputationTimeout      computation-timeout    the computation was stopped at its deadline or limit of memory
    ├── RetryLater                                     carries ``retry_after``, seconds
    │   ├── RateLimited         rate-limited
    │   ├── Overloaded          overloaded             a bounded queue is full
    │   └── Unavailable         unavailable            a dependency does not answer
    │       ├── StoreUnavailable
    │       │   ├── StoreReadOnly                  it answers, and takes no writes
    │       │   └── OutcomeUnknown                     a write was begun; what became of it is not known
    │       ├── CacheUnavailable
    │       │   └── AnswerLost                         a question was sent; its answer is late
    │       └── StreamUnavailable
    ├── EventsRefused           internal-error         the stream will never take some events; it has the others
    └── VerificationFailed      internal-error         a result did not agree with its residue

Errors cross process borders by pickle, so every argument is positional and stands in ``args``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

_TOLD_AT_ONCE = 3
"""Problems whose sentences make up an error's detail; of more, the detail is the number."""


class FieldProblem(NamedTuple):
    """One invalid field: a JSON pointer (RFC 6901) into the input, and what is wrong there."""

    pointer: str
    detail: str


class Quota(NamedTuple):
    """How a caller stands with a limit of ``amount`` in ``window`` seconds: what remains, and for how many seconds."""

    amount: int
    window: int
    remaining: int
    reset: int


class PycalcError(Exception):
    """The root; ``detail`` is a sentence for the client and never holds internals."""

    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *facts: object) -> None:
        super().__init__(detail, *facts)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class InvalidInput(PycalcError):
    """The request is not of the documented form."""

    code = "validation-error"
    title = "The input is not valid"

    def __init__(self, detail: str, problems: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(detail, problems)
        self.problems = problems

    @classmethod
    def of(cls, *problems: FieldProblem) -> InvalidInput:
        """Return the error of these problems, whose detail has the sentences of the problems where they are few."""
        if len(problems) <= _TOLD_AT_ONCE:
            return cls(" ".join(problem.detail for problem in problems), problems)
        return cls(f"The request has {len(problems):,} errors: `errors` says where, and what was expected.", problems)


class DomainError(PycalcError):
    """The operation has no real value for these arguments."""

    code = "domain-error"
    title = "The operation is not defined there"


class ResultTooLarge(PycalcError):
    """The result has ``digits`` decimal digits, more than ``limit``; its ends are known all the same."""

    code = "result-too-large"
    title = "The result is too large to write out"

    def __init__(self, detail: str, digits: int, limit: int, leading: str, trailing: str) -> None:
        super().__init__(detail, digits, limit, leading, trailing)
        self.digits = digits
        self.limit = limit
        self.leading = leading
        self.trailing = trailing


class Unauthorized(PycalcError):
    """No valid credentials were presented."""

    code = "unauthorized"
    title = "Valid credentials are needed"


class InvalidToken(Unauthorized):
    """A bearer token was presented that is not valid, or not any more."""


class RefreshTokenReused(Unauthorized):
    """A refresh token was used that had been replaced: somebody else may have it, so its session has ended."""

    def __init__(self, detail: str, session_id: bytes) -> None:
        super().__init__(detail, session_id)
        self.session_id = session_id


class Forbidden(PycalcError):
    """The credentials are valid and do not allow this."""

    code = "forbidden"
    title = "Not allowed"


class WrongPassword(Forbidden):
    """A caller who is known gave a password that is not its own."""


class NotFound(PycalcError):
    """There is no such resource, or none that the caller may know of."""

    code = "not-found"
    title = "Not found"


class Conflict(PycalcError):
    """What was asked for contradicts what is there: a name is taken, the last admin would go."""

    code = "conflict"
    title = "In conflict with what is there"


class PayloadTooLarge(PycalcError):
    """The request's body is over the limit."""

    code = "payload-too-large"
    title = "The request is too large"


class PreconditionFailed(PycalcError):
    """The client named versions of a representation, none of which is the current one."""

    code = "precondition-failed"
    title = "The condition does not hold"


class UnsupportedMediaType(PycalcError):
    """The request's body is of another media type than those that are ``accepted``."""

    code = "unsupported-media-type"
    title = "The body is of another type"

    def __init__(self, detail: str, accepted: tuple[str, ...]) -> None:
        super().__init__(detail, accepted)
        self.accepted = accepted


class UnsupportedCoding(UnsupportedMediaType):
    """The request's body has another content coding than those that are ``accepted``."""


class RangeNotSatisfiable(PycalcError):
    """The range begins beyond the end of a representation of ``length`` bytes."""

    code = "range-not-satisfiable"
    title = "There is no such range"

    def __init__(self, detail: str, length: int) -> None:
        super().__init__(detail, length)
        self.length = length


class ComputationTimeout(PycalcError):
    """The computation was stopped at its deadline, or where it needed more memory than it may take."""

    code = "computation-timeout"
    title = "The computation took too long"


class RetryLater(PycalcError):
    """A passing condition; ``retry_after`` is the number of seconds after which a try makes sense."""

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail, retry_after)
        self.retry_after = retry_after


class RateLimited(RetryLater):
    """The caller asks more often than it may; ``quota`` is how it stands, where it may know."""

    code = "rate-limited"
    title = "Too many requests"

    def __init__(self, detail: str, retry_after: int = 1, quota: Quota | None = None) -> None:
        PycalcError.__init__(self, detail, retry_after, quota)
        self.retry_after = retry_after
        self.quota = quota


class Overloaded(RetryLater):
    """A bounded queue is full; nothing was done."""

    code = "overloaded"
    title = "The service is busy"


class Unavailable(RetryLater):
    """Something the service depends on does not answer; nothing was done, unless it is an OutcomeUnknown."""

    code = "unavailable"
    title = "The service is not available"


class StoreUnavailable(Unavailable):
    """The database does not answer or can't write; ``reason`` is for operators (the text has it), not for clients."""

    def __init__(self, detail: str, retry_after: int = 1, reason: str = "") -> None:
        PycalcError.__init__(self, detail, retry_after, reason)
        self.retry_after = retry_after
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.detail} ({self.reason})" if self.reason else self.detail


class StoreReadOnly(StoreUnavailable):
    """The database answers, and takes no writes."""


class OutcomeUnknown(StoreUnavailable):
    """A write was begun, and it is not known whether it was done: the one failure that may have left something."""


class CacheUnavailable(Unavailable):
    """The cache does not answer; callers go on without it."""


class AnswerLost(CacheUnavailable):
    """A question was sent, and its answer is late: what it asks for may have been done, or may be yet."""


class StreamUnavailable(Unavailable):
    """The event stream does not take events; they stay in the outbox."""


class EventsRefused(PycalcError):
    """The stream will never take these events, by id with the reason; it has taken all others of their batch."""

    def __init__(self, detail: str, refused: Mapping[bytes, str]) -> None:
        super().__init__(detail, refused)
        self.refused = refused


class VerificationFailed(PycalcError):
    """A computed result did not agree with its residue; it must not leave the service."""
