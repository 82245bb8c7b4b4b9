"""The audit log of refused requests, with a limit on the records per second."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from structlog import get_logger

from pycalc.observability.metrics import AccountMetrics

_RECORDS_PER_SECOND = 10.0
_BURST_RECORDS = 100.0

_audit = get_logger("pycalc.audit")


class RefusalLog:
    """The writer of refusals to the audit log.

    Known and unknown callers have separate token buckets, so that unknown callers can't crowd out the records of users.
    """

    def __init__(self, metrics: AccountMetrics, clock: Callable[[], float] = monotonic) -> None:
        """Begin with full buckets; ``clock`` must return seconds since an arbitrary moment."""
        self._clock = clock
        self._buckets = dict.fromkeys(("known", "unknown"), (_BURST_RECORDS, clock()))  # tokens, refill time
        self._suppressed = {caller: metrics.audit_suppressed.labels(caller) for caller in self._buckets}

    def refused(self, user: str | None, **facts: str | int) -> None:
        """Log a refused request, or only count it if the caller's bucket is empty; ``facts`` must hold no secret."""
        caller = "unknown" if user is None else "known"
        tokens, filled_at = self._buckets[caller]
        now = self._clock()
        tokens = min(_BURST_RECORDS, tokens + (now - filled_at) * _RECORDS_PER_SECOND)
        if tokens >= 1:
            tokens -= 1
            _audit.warning("request refused", user=user, **facts)
        else:
            self._suppressed[caller].inc()
        self._buckets[caller] = (tokens, now)
