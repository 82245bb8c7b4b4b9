"""Retries: which failed requests are sent again, and after which time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import httpx

from pycalc_client.errors import ConnectionFailed, Overloaded, ProblemError, Unavailable

_OF_PROXIES = (502, 503, 504)  # answers without a problem document: those of a proxy that gets no answer
# In these cases the request was not sent, so that even one without an idempotency key can be repeated.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The limits of retries.

    A request is tried at most ``attempts`` times within ``deadline`` seconds. Both limits start anew when a part of the
    answer arrives. The wait after the first failure is up to ``first_wait`` seconds. It doubles with each failure, up
    to ``longest_wait``. If the service asks for a wait by Retry-After, this time is added.
    """

    attempts: int = 6
    deadline: float = 300.0
    first_wait: float = 0.5
    longest_wait: float = 30.0


class Attempts:
    """The attempts of one request."""

    def __init__(
        self,
        policy: RetryPolicy,
        clock: Callable[[], float] = monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._jitter = jitter
        self.progressed()

    def progressed(self) -> None:
        """Restart the count of attempts and the deadline. Call this when a part of the answer has arrived."""
        self._failed = 0
        self._until = self._clock() + self._policy.deadline

    @property
    def remaining(self) -> float:
        """Return the seconds until the deadline, at least 0.1."""
        return max(0.1, self._until - self._clock())

    def wait(self, error: httpx.RequestError | ProblemError, *, repeatable: bool) -> float:
        """Return the seconds to wait before the next attempt.

        If there is no next attempt, raise the given ProblemError, or ConnectionFailed for a RequestError.
        ``repeatable`` allows a retry even if the service may have carried out the request.
        """
        self._failed += 1
        asked = error.retry_after if isinstance(error, ProblemError) else None
        backoff = min(self._policy.longest_wait, self._policy.first_wait * 2 ** (self._failed - 1))
        seconds = (asked or 0.0) + self._jitter(backoff / 2, backoff)
        if (
            self._failed >= self._policy.attempts
            or seconds >= self._until - self._clock()
            or not _is_temporary(error, repeatable=repeatable)
        ):
            if isinstance(error, ProblemError):
                raise error
            raise ConnectionFailed(
                f"The service does not answer: {str(error).rstrip('.') or type(error).__name__}."
            ) from error
        return seconds


def _is_temporary(error: httpx.RequestError | ProblemError, *, repeatable: bool) -> bool:
    if isinstance(error, ProblemError):
        if error.status == httpx.codes.CONFLICT:  # the first request with this idempotency key is still running
            return error.retry_after is not None
        if error.status == httpx.codes.TOO_MANY_REQUESTS or isinstance(error, Overloaded):
            return True  # the service has not begun the request
        of_proxy = not error.slug and error.status in _OF_PROXIES
        return repeatable and (of_proxy or isinstance(error, Unavailable))
    return isinstance(error, _NOT_SENT) or (repeatable and isinstance(error, httpx.TransportError))
