"""Refusals in the audit log: as many as say something, the rest of a flood is counted."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from structlog import get_logger

from pycalc.observability.metrics import Metrics

_PER_SECOND = 10.0
_AT_ONCE = 100.0
"""A token bucket's rate and size, records."""

_audit = get_logger("pycalc.audit")


class _Bucket:
    """A token bucket, full at first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = _AT_ONCE
        self._at = clock()

    def take(self) -> bool:
        """Return whether there was one left, and take it."""
        now = self._clock()
        self._left = min(_AT_ONCE, self._left + (now - self._at) * _PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class RefusalLog:
    """Writes refusals; those of known callers have room of their own, so that nobody unknown crowds them out."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` tells seconds, from whenever."""
        self._buckets = {"known": _Bucket(clock), "unknown": _Bucket(clock)}
        self._suppressed = {caller: metrics.audit_suppressed.labels(caller) for caller in self._buckets}

    def refused(self, user: str | None, **facts: str | int) -> None:
        """Write a record of a request that was refused, or count it where there are too many; no secrets in it."""
        caller = "unknown" if user is None else "known"
        if self._buckets[caller].take():
            _audit.warning("request refused", user=user, **facts)
        else:
            self._suppressed[caller].inc()
