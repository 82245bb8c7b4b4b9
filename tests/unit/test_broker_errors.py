"""Broker errors: how long they make the stream's readiness check fail."""

from __future__ import annotations

import pytest

from pycalc.errors import StreamUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.streaming.broker_errors import BrokerErrors


class _Clock:
    """A clock that the test sets."""

    now = 1_000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock() -> _Clock:
    """Return a clock that the test sets."""
    return _Clock()


def test_a_failed_publish_is_held_against_the_stream_for_a_while(clock: _Clock) -> None:
    """After a failed publish, the stream's readiness check fails for 40 s, longer than a relay waits before a retry.

    Then the check passes again, because another relay may be publishing by now.
    """
    errors = BrokerErrors((OSError,), lambda error: ("OSError", str(error)), Metrics(), clock)
    errors.check()
    for _ in range(2):
        with pytest.raises(StreamUnavailable), errors.mapped("publish", "The broker is away"):
            raise TimeoutError
        clock.now += 36
        with pytest.raises(StreamUnavailable):
            errors.check()
    clock.now += 5
    errors.check()


def test_a_publish_restores_readiness_and_a_failed_commit_does_not_end_it(clock: _Clock) -> None:
    """A successful publish makes the stream's readiness check pass again; a failed commit does not make it fail."""
    errors = BrokerErrors((OSError,), lambda error: ("OSError", str(error)), Metrics(), clock)
    with pytest.raises(StreamUnavailable), errors.mapped("commit", "The broker is away"):
        raise OSError
    errors.check()
    with pytest.raises(StreamUnavailable), errors.mapped("publish", "The broker is away"):
        raise OSError
    errors.published("The broker refuses events.", {})
    errors.check()
