"""Log records that are written over and over: a few of them are enough."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import NamedTuple

from structlog import get_logger

# Kinds of records that are told apart; the oldest goes first.
_KEPT = 1_000
# Fields in which records that are otherwise identical differ.
_OF_REQUEST = {"request_id", "user_id", "trace_id", "span_id", "trace_sampled", "timestamp"}
# The audit log has a limit of its own, for refusals; what it says of grants and revocations is never left out.
_UNLIMITED = "pycalc.audit"


class _Kind(NamedTuple):
    logger: str
    event: str
    since: float
    written: int
    suppressed: int


class RepeatFilter(logging.Filter):
    """Lets ``most`` identical records through in ``seconds``, counts the others, and then says how many there were.

    Records with an exception are identical when logger, event and traceback are, others when all their fields are.
    """

    def __init__(self, most: int = 10, seconds: float = 60.0, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` tells seconds, from whenever."""
        super().__init__()
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._kinds: OrderedDict[int, _Kind] = OrderedDict()
        self._lock = Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record; the count of what was not written comes before it."""
        if record.name == _UNLIMITED:
            return True
        event, key = _identity(record)
        with self._lock:
            over = self._over()
            kind = self._kinds.get(key) or _Kind(record.name, event, self._clock(), 0, 0)
            wanted = kind.written < self._most
            self._kinds[key] = kind._replace(written=kind.written + wanted, suppressed=kind.suppressed + (not wanted))
        for old in over:
            get_logger(old.logger).warning("identical records suppressed", of=old.event, suppressed=old.suppressed)
        return wanted

    def _over(self) -> list[_Kind]:
        """Forget the kinds whose time is over, or that are too many; return those of which something was suppressed."""
        over = []
        while self._kinds:
            oldest = next(iter(self._kinds.values()))
            if len(self._kinds) < _KEPT and self._clock() < oldest.since + self._seconds:
                break
            over.append(self._kinds.popitem(last=False)[1])
        return [kind for kind in over if kind.suppressed]


def _identity(record: logging.LogRecord) -> tuple[str, int]:
    """Return a record's event, and what identical records have in common."""
    if not isinstance(record.msg, dict):  # not structlog's
        event = record.getMessage()
        return event[:200], hash((record.name, record.levelno, event, str(record.exc_info and record.exc_info[1])))
    fields = record.msg
    event = str(fields.get("event", ""))
    if "exception" in fields:
        return event, hash((record.name, event, fields["exception"]))
    same = tuple(f"{name}={value!r}" for name, value in fields.items() if name not in _OF_REQUEST)
    return event, hash((record.name, record.levelno, same))
