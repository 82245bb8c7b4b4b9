"""The rules by which the Python client retries a request or gives up."""

from __future__ import annotations

import httpx
import pytest
from pycalc_client import ConnectionFailed, ProblemError, RetryPolicy
from pycalc_client.errors import problem_error
from pycalc_client.retries import Attempts

SENT = [httpx.ReadError("cut"), httpx.ReadTimeout("late"), httpx.RemoteProtocolError("cut")]
NOT_SENT = [httpx.ConnectError("refused"), httpx.ConnectTimeout("late"), httpx.PoolTimeout("busy")]


class Clock:
    """A clock whose time the test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def attempts(policy: RetryPolicy, clock: Clock | None = None) -> Attempts:
    """Return a new Attempts for a policy. Each wait has the longest jitter, so that it is the same in every run."""
    return Attempts(policy, clock or Clock(), lambda _, longest: longest)


def problem(slug: str, status: int, retry_after: float | None = None) -> ProblemError:
    """Return the exception for a problem."""
    return problem_error({"type": f"/docs/problems#{slug}", "status": status}, retry_after)


def test_waits_double_up_to_the_longest() -> None:
    """Waits begin at ``first_wait`` and double up to ``longest_wait``; a Retry-After is added to them."""
    tries = attempts(RetryPolicy(attempts=9, first_wait=1.0, longest_wait=5.0))
    assert [tries.wait(SENT[0], repeatable=True) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert tries.wait(problem("overloaded", 503, 7.0), repeatable=True) == 12.0


def test_progress_restarts_the_count_and_the_deadline() -> None:
    """Receiving a part of the answer restarts the count of attempts and the deadline.

    If the next wait would end after the deadline, the error is raised instead.
    """
    clock = Clock()
    tries = attempts(RetryPolicy(attempts=3, deadline=10.0, first_wait=1.0), clock)
    tries.wait(SENT[0], repeatable=True)
    tries.wait(SENT[0], repeatable=True)
    clock.now = 5.0
    tries.progressed()
    tries.wait(SENT[0], repeatable=True)
    clock.now = 13.5
    assert tries.remaining == 1.5
    with pytest.raises(ConnectionFailed, match="cut"):
        tries.wait(SENT[0], repeatable=True)


@pytest.mark.parametrize("error", SENT)
def test_a_request_that_may_have_been_carried_out_is_retried_only_if_repeatable(error: httpx.RequestError) -> None:
    """A request that the service may have carried out is retried only if it is repeatable."""
    assert attempts(RetryPolicy()).wait(error, repeatable=True) > 0
    with pytest.raises(ConnectionFailed):
        attempts(RetryPolicy()).wait(error, repeatable=False)


@pytest.mark.parametrize("error", NOT_SENT)
def test_what_was_not_sent_is_repeated(error: httpx.RequestError) -> None:
    """A request that was not sent is retried even if it is not repeatable."""
    assert attempts(RetryPolicy()).wait(error, repeatable=False) > 0


@pytest.mark.parametrize(
    ("error", "always", "repeatable"),
    [
        (problem("rate-limited", 429), True, True),
        (problem("overloaded", 503), True, True),
        (problem("unavailable", 503), False, True),
        (problem("conflict", 409, 1.0), True, True),
        (problem("conflict", 409), False, False),
        (problem("computation-timeout", 504), False, False),
        (problem("validation-error", 422), False, False),
        (problem("internal-error", 500), False, False),
        (ProblemError({"status": 502}), False, True),
        (ProblemError({"status": 504}), False, True),
        (ProblemError({"status": 500}), False, False),
    ],
)
def test_problems_that_pass_are_repeated(error: ProblemError, always: bool, repeatable: bool) -> None:
    """After a temporary error, a request is retried if the service has not begun it, or if repeating it is harmless."""
    for harmless, expected in ((False, always), (True, repeatable)):
        repeated = True
        try:
            attempts(RetryPolicy()).wait(error, repeatable=harmless)
        except ProblemError:
            repeated = False
        assert repeated is expected
