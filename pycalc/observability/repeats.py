"""A rate limit for identical log records."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import NamedTuple

from structlog import get_logger

_KEPT = 1_000  # the most kinds of records that are counted at the same time
_OF_REQUEST = {"request_id", "user_id", "trace_id", "span_id", "trace_sampled", "timestamp"}  # not compared
# The audit log limits refusals itself; its records of grants and revocations must all be written.
_UNLIMITED = "pycalc.audit"


class _Kind(NamedTuple):
    logger: str
    event: str
    since: float
    written: int
    suppressed: int


class RepeatFilter(logging.Filter):
    """A filter that passes up to ``most`` identical records in ``seconds``, and later logs how many it has dropped.

    Records of structlog are identical if they have the same logger, level and fields, except for the time and the
    fields of the request. If they have tracebacks, only logger, event and traceback are compared. Records of the
    standard library are identical if logger, level, message and exception are equal. Audit records always pass.
    """

    def __init__(self, most: int = 10, seconds: float = 60.0, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._kinds: OrderedDict[int, _Kind] = OrderedDict()
        self._lock = Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record. Log how many records were suppressed in intervals that have ended.

        If too many kinds of records are counted, the oldest interval ends early.
        """
        if record.name == _UNLIMITED:
            return True
        event, key = _identity(record)
        expired = []
        with self._lock:
            while self._kinds:
                oldest = next(iter(self._kinds.values()))
                if len(self._kinds) < _KEPT and self._clock() < oldest.since + self._seconds:
                    break
                expired.append(self._kinds.popitem(last=False)[1])
            kind = self._kinds.get(key) or _Kind(record.name, event, self._clock(), 0, 0)
            wanted = kind.written < self._most
            self._kinds[key] = kind._replace(written=kind.written + wanted, suppressed=kind.suppressed + (not wanted))
        for old in expired:
            if old.suppressed:
                get_logger(old.logger).warning("identical records suppressed", of=old.event, suppressed=old.suppressed)
        return wanted


def _identity(record: logging.LogRecord) -> tuple[str, int]:
    """Return the event of a record, and a hash that is equal for identical records."""
    if not isinstance(record.msg, dict):  # a record of the standard library
        event = record.getMessage()
        return event[:200], hash((record.name, record.levelno, event, str(record.exc_info and record.exc_info[1])))
    fields = record.msg
    event = str(fields.get("event", ""))
    if "exception" in fields:
        return event, hash((record.name, event, fields["exception"]))
    same = tuple(f"{name}={value!r}" for name, value in fields.items() if name not in _OF_REQUEST)
    return event, hash((record.name, record.levelno, same))
