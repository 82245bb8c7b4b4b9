"""Exports of the history: complete selections, in reads of limited size (ADR 16)."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import thread_time
from typing import NamedTuple

from pycalc.db.base import HistoryStore, UserStore
from pycalc.errors import Forbidden
from pycalc.models.auth import Principal
from pycalc.models.history import CSV_HEADER, HistoryRow, encode_csv, encode_item
from pycalc.observability.metrics import HistoryMetrics
from pycalc.services.history.reader import HistorySelection, cursor_id, filter_of
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.quotas import WindowQuota

ROWS_PER_READ = 200  # encoding this many rows blocks the event loop for about a millisecond
MAX_EXPORTS = 8
MAX_EXPORTS_EACH = 2

_PAUSE_FACTOR = 8  # an export pauses for this multiple of the time that the loop spent on others during its last read
_LONGEST_PAUSE = 0.1  # seconds

Identify = Callable[[], Awaitable[Principal]]


class ExportFormat(NamedTuple):
    """A file format of exports."""

    head: str
    line: Callable[[HistoryRow], str]
    extension: str
    parameters: str  # of the media type


EXPORT_FORMATS = {  # by media type
    "application/x-ndjson": ExportFormat("", lambda row: encode_item(row) + "\n", "ndjson", ""),
    "text/csv": ExportFormat(CSV_HEADER, encode_csv, "csv", "; charset=utf-8; header=present"),
}


class Exports:
    """The service that exports the history, with a concurrency limit in total and per user.

    One export reads at a time, and pauses afterwards in proportion to the event loop's other work. Exports therefore
    slow down on a busy service and use the whole machine on an idle one.
    """

    def __init__(
        self,
        history: HistoryStore,
        users: UserStore,
        metrics: HistoryMetrics,
        quota: WindowQuota,
        thread_clock: Callable[[], float] = thread_time,
    ) -> None:
        """Charge the bytes of exports to ``quota``.

        ``thread_clock`` must return the seconds of processor time of the calling thread.
        """
        self._history = history
        self._users = users
        self._quota = quota
        self._thread_clock = thread_clock
        self._limit = ConcurrencyLimit(
            MAX_EXPORTS,
            metrics.exports_refused,
            "Too many exports of the history are running; retry when one has ended.",
            each=MAX_EXPORTS_EACH,
        )
        self._read_lock = asyncio.Lock()
        self._pause = 0.0
        self._shortest_read = math.inf
        metrics.exports.set_function(lambda: self._limit.taken)

    async def export(
        self, identify: Identify, selection: HistorySelection, export_format: ExportFormat, limit: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the encoded selection, or its newest ``limit`` calculations, newest first; yield at least once.

        Reading goes down by id, so every row that existed at the start appears once. Later rows have higher ids and are
        left out, except those that another process commits within about 2 s of the start. No transaction is open
        during a yield. ``identify`` is called before each yield; it must raise when the caller has lost its rights.

        Raises QuotaExceeded when nothing is left of the quota, Overloaded above the limits, Unauthorized, Forbidden,
        InvalidInput and StoreUnavailable. After the first yield an exception means that the export is incomplete. An
        export that has begun is completed beyond the quota, because the client would have to repeat a broken one.
        """
        caller = await identify()
        self._quota.require(caller)
        history_filter = await filter_of(selection, caller, self._users)
        before, left = cursor_id(selection.cursor), sys.maxsize if limit is None else limit
        with self._limit.acquire(caller.user_id):
            text = export_format.head
            while left:
                size = min(left, ROWS_PER_READ)
                async with self._read_lock:
                    await asyncio.sleep(self._pause)
                    began = self._thread_clock()
                    rows = await self._history.page(history_filter, before, size)
                    self._pause = self._pause_after(self._thread_clock() - began, len(rows))
                    text += "".join(map(export_format.line, rows))
                if not (await identify()).is_admin and caller.is_admin:
                    raise Forbidden("Only an admin may read other users' history.")
                content = text.encode()
                self._quota.charge(caller, len(content))
                yield content
                if len(rows) < size:
                    return
                text, before, left = "", rows[-1].id, left - size

    def _pause_after(self, worked: float, rows: int) -> float:
        """Return the pause in seconds after a read during which the event loop's thread worked for ``worked`` seconds.

        The shortest full read so far estimates the export's own work. Time beyond twice that counts as work for others.
        """
        if rows == ROWS_PER_READ:
            self._shortest_read = min(self._shortest_read, worked)
        return max(0.0, min(_PAUSE_FACTOR * (worked - 2 * self._shortest_read), _LONGEST_PAUSE))
