"""Refused requests in the audit log, limited in rate."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from structlog import get_logger

from pycalc.observability.metrics import Metrics

_RECORDS_PER_SECOND = 10.0
_BURST_RECORDS = 100.0

_audit = get_logger("pycalc.audit")


class _TokenBucket:
    """A token bucket that starts full."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = _BURST_RECORDS
        self._updated = clock()

    def take(self) -> bool:
        """Take a token and return True, or return False when none is left."""
        now = self._clock()
        self._left = min(_BURST_RECORDS, self._left + (now - self._updated) * _RECORDS_PER_SECOND)
        self._updated = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class RefusalLog:
    """The writer of refusals to the audit log.

    Known and unknown callers have separate token buckets, so that unknown callers can't crowd out the records of users.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` returns seconds since an arbitrary moment."""
        self._buckets = {"known": _TokenBucket(clock), "unknown": _TokenBucket(clock)}
        self._suppressed = {caller: metrics.audit_suppressed.labels(caller) for caller in self._buckets}

    def refused(self, user: str | None, **facts: str | int) -> None:
        """Log a refused request, or only count it when the bucket is empty; ``facts`` must hold no secret."""
        caller = "unknown" if user is None else "known"
        if self._buckets[caller].take():
            _audit.warning("request refused", user=user, **facts)
        else:
            self._suppressed[caller].inc()
