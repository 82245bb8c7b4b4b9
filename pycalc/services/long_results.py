"""Long results in memory, bounded in bytes: for everybody together, and for each user (ADR 9)."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pycalc.errors import Overloaded
from pycalc.observability.metrics import Metrics

LONG_BYTES = 1024 * 1024
"""What is shorter is not counted."""
_MAX_BYTES = 1024 * 1024 * 1024
_SHARE = 4
"""One user may have one part in so many."""


class LongResults:
    """The bytes of long results that are alive: on their way here, being sent or cached."""

    def __init__(self, metrics: Metrics, max_bytes: int = _MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._bytes = 0
        self._by_user: Counter[bytes] = Counter()
        self._refused = metrics.compute_refused
        metrics.results_long_bytes.set_function(lambda: self._bytes)

    def require_room(self, user: bytes) -> None:
        """Raise Overloaded while there are too many."""
        if self._bytes > self.max_bytes or self._by_user[user] > self.max_bytes // _SHARE:
            raise Overloaded("Too many long results are being sent.", 5)

    @contextmanager
    def expected(self, size: int, user: bytes) -> Iterator[None]:
        """Count what may come from a cache meanwhile; raises Overloaded at once where there is no room for it."""
        if size <= LONG_BYTES:
            yield
            return
        try:
            self.require_room(user)
        except Overloaded:
            self._refused.inc()
            raise
        self._begin(size, user)
        try:
            yield
        finally:
            self._end(size, user)

    def count(self, holder: object, size: int, user: bytes) -> None:
        """Count what is long for as long as its holder lives."""
        if size > LONG_BYTES:
            self._begin(size, user)
            weakref.finalize(holder, self._end, size, user)

    def _begin(self, size: int, user: bytes) -> None:
        self._bytes += size
        self._by_user[user] += size

    def _end(self, size: int, user: bytes) -> None:
        self._bytes -= size
        self._by_user[user] -= size
        if not self._by_user[user]:
            del self._by_user[user]
