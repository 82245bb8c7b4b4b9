"""The queue of rows that wait for a commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow

ROW_BYTES = 600  # the memory of a queued row, without its input and result
KEY_BYTES = 300  # the memory of a queued idempotency key, without its calculations' ids and problems


class Entry(NamedTuple):
    """The rows of one call of ``Recorder.record``, their idempotency key, and the future that the call returned."""

    rows: Sequence[HistoryRow]
    size: int  # in bytes
    arrived: float  # a time of ``monotonic``
    done: asyncio.Future[None]
    key: KeyRow | None = None


class RowQueue:
    """A first-in, first-out queue of entries, bounded by the entries' rows and bytes."""

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._entries: deque[Entry] = deque()
        self.rows = 0
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def fits(self, rows: int, size: int) -> bool:
        """Return whether the queue has room for ``rows`` more rows with ``size`` bytes in total."""
        return self.rows + rows <= self._max_rows and self.bytes + size <= self._max_bytes

    def put(self, entry: Entry) -> None:
        """Append an entry, whatever its size. Call ``fits`` first."""
        self._entries.append(entry)
        self.rows += len(entry.rows)
        self.bytes += entry.size

    def take(self, max_rows: int) -> list[Entry]:
        """Remove and return the oldest entries: up to ``max_rows`` rows in total, or a single entry with more rows."""
        batch: list[Entry] = []
        rows = 0
        while self._entries and (not batch or rows + len(self._entries[0].rows) <= max_rows):
            batch.append(self._pop())
            rows += len(batch[-1].rows)
        return batch

    def take_older(self, moment: float) -> list[Entry]:
        """Remove and return the entries that arrived before ``moment``, a time of ``monotonic``."""
        older = []
        while self._entries and self._entries[0].arrived < moment:
            older.append(self._pop())
        return older

    def _pop(self) -> Entry:
        entry = self._entries.popleft()
        self.rows -= len(entry.rows)
        self.bytes -= entry.size
        return entry
