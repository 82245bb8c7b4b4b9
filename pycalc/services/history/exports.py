"""Exports of the history: a whole selection, in reads of some rows each (ADR 16)."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import thread_time
from typing import NamedTuple

from pycalc.db.base import HistoryFilter, HistoryStore, UserStore
from pycalc.errors import Forbidden
from pycalc.models.auth import Principal
from pycalc.models.history import CSV_HEADER, HistoryRow, encode_csv, encode_item
from pycalc.observability.metrics import Metrics
from pycalc.services.history.reader import Wanted, cursor_id, selection_of
from pycalc.services.limits.concurrency import ConcurrencyLimit

AT_ONCE = 200
"""Rows that are read, encoded and sent together: encoding them takes the event loop about a millisecond."""
MAX_EXPORTS = 8
MAX_EXPORTS_EACH = 2

_PATIENCE = 8
"""An export waits so many times as long as the event loop spent on others during its last read."""
_LONGEST_PAUSE = 0.1

Identify = Callable[[], Awaitable[Principal]]


class Layout(NamedTuple):
    """How an export is written."""

    head: str
    line: Callable[[HistoryRow], str]
    extension: str
    parameters: str
    """Of the media type."""


LAYOUTS = {
    "application/x-ndjson": Layout("", lambda row: encode_item(row) + "\n", "ndjson", ""),
    "text/csv": Layout(CSV_HEADER, encode_csv, "csv", "; charset=utf-8; header=present"),
}
"""The forms that there are, by media type."""


class Exports:
    """Exports of the history, bounded in number, for all and for each user.

    They take turns, one read at a time, and make way: the more the event loop has to do for others, the longer they
    pause. On a busy service an export takes longer; on an idle one it has the whole machine.
    """

    def __init__(
        self,
        history: HistoryStore,
        users: UserStore,
        metrics: Metrics,
        thread_clock: Callable[[], float] = thread_time,
    ) -> None:
        """``thread_clock`` tells how long the event loop's thread has worked, in seconds."""
        self._history = history
        self._users = users
        self._thread_clock = thread_clock
        self._limit = ConcurrencyLimit(
            MAX_EXPORTS,
            metrics.exports_refused,
            "Too many exports of the history are under way.",
            each=MAX_EXPORTS_EACH,
        )
        self._turn = asyncio.Lock()
        self._pause = 0.0
        self._least = math.inf
        metrics.exports.set_function(lambda: self._limit.taken)

    async def export(
        self, identify: Identify, wanted: Wanted, layout: Layout, limit: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield what is wanted, newest first, or its newest ``limit`` calculations, some at a time; at least once.

        Ids grow with commits: going down from the newest meets every row that there was at the start once, and none
        that came later. Nothing in the database is held while a yield is being sent. ``identify`` is asked before each,
        and raises when the caller has lost its rights. Raises Overloaded over the bounds, Forbidden, InvalidInput,
        StoreUnavailable; when it raises after the first yield, then what was yielded is not all.
        """
        caller = await identify()
        selection = await selection_of(wanted, caller, self._users)
        before, left = cursor_id(wanted.cursor), sys.maxsize if limit is None else limit
        with self._limit.acquire(caller.user_id):
            text = layout.head
            while left:
                size = min(left, AT_ONCE)
                rows, lines = await self._read(selection, before, size, layout)
                _require_no_less(caller, await identify())
                yield (text + lines).encode()
                if len(rows) < size:
                    return
                text, before, left = "", rows[-1].id, left - size

    async def _read(
        self, selection: HistoryFilter, before: bytes | None, size: int, layout: Layout
    ) -> tuple[list[HistoryRow], str]:
        """Return the next rows and their lines, when it is this export's turn."""
        async with self._turn:
            await asyncio.sleep(self._pause)
            began = self._thread_clock()
            rows = await self._history.page(selection, before, size)
            self._pause = self._courtesy(self._thread_clock() - began, len(rows))
            return rows, "".join(map(layout.line, rows))

    def _courtesy(self, spent: float, rows: int) -> float:
        """Return the pause after a read during which the event loop's thread worked so many seconds.

        The least that a full read ever took is the read's own work, which varies; beyond twice that it was others'.
        """
        if rows == AT_ONCE:
            self._least = min(self._least, spent)
        return max(0.0, min(_PATIENCE * (spent - 2 * self._least), _LONGEST_PAUSE))


def _require_no_less(then: Principal, now: Principal) -> None:
    """Raise Forbidden when a caller that was an admin is none any more."""
    if then.is_admin and not now.is_admin:
        raise Forbidden("Only an admin may read other users' history.")
