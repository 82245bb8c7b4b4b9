"""Exports of the history and of the audit log, which read a limited number of records at a time (ADR 16)."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from time import thread_time
from typing import Generic, NamedTuple, TypeVar

from pycalc.db.base import HistoryStore, UserStore
from pycalc.errors import Forbidden
from pycalc.models.audit import AUDIT_CSV_HEADER, AuditEntry, encode_entry, encode_entry_csv
from pycalc.models.auth import Principal
from pycalc.models.history import CSV_HEADER, HistoryRow, encode_csv, encode_item
from pycalc.models.ids import cursor_id
from pycalc.observability.metrics import HistoryMetrics
from pycalc.services.history.reader import HistorySelection, filter_of
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.quotas import WindowQuota

ROWS_PER_READ = 200  # encoding this many rows blocks the event loop for about a millisecond
MAX_EXPORTS = 8  # at the same time
MAX_EXPORTS_EACH = 2  # of one user at the same time

_PAUSE_FACTOR = 8  # the pause after a read is this multiple of the loop's time for other work during the read
_LONGEST_PAUSE = 0.1  # seconds


Row = TypeVar("Row", HistoryRow, AuditEntry)


class ExportFormat(NamedTuple, Generic[Row]):
    """A file format of exports: its header line, row encoder, file extension and media-type parameters."""

    head: str
    line: Callable[[Row], str]
    extension: str
    parameters: str


def _formats(
    json_of: Callable[[Row], str], csv_header: str, csv_of: Callable[[Row], str]
) -> dict[str, ExportFormat[Row]]:
    """Return the NDJSON and CSV formats of one kind of record, by media type."""
    return {
        "application/x-ndjson": ExportFormat("", lambda row: json_of(row) + "\n", "ndjson", ""),
        "text/csv": ExportFormat(csv_header, csv_of, "csv", "; charset=utf-8; header=present"),
    }


EXPORT_FORMATS: dict[str, ExportFormat[HistoryRow]] = _formats(encode_item, CSV_HEADER, encode_csv)
AUDIT_FORMATS: dict[str, ExportFormat[AuditEntry]] = _formats(encode_entry, AUDIT_CSV_HEADER, encode_entry_csv)


@dataclass(eq=False)
class Exports:
    """Exports of records as files, with a concurrency limit in total and per user.

    Only one export at a time reads from the database, and pauses before each read in proportion to the event loop's
    other work. So exports are slow on a busy service and fast on an idle one.
    """

    history: HistoryStore
    users: UserStore
    metrics: HistoryMetrics
    quota: WindowQuota  # of the bytes of results
    thread_clock: Callable[[], float] = thread_time  # returns the thread's processor time in seconds

    def __post_init__(self) -> None:
        self._limit = ConcurrencyLimit(
            MAX_EXPORTS,
            self.metrics.exports_refused,
            "Too many exports of the history are running; retry when one has ended.",
            each=MAX_EXPORTS_EACH,
        )
        self._read_lock = asyncio.Lock()
        self._pause = 0.0
        self._shortest_read = math.inf
        self.metrics.exports.set_function(lambda: self._limit.taken)

    async def export(
        self,
        identify: Callable[[], Awaitable[Principal]],
        selection: HistorySelection,
        export_format: ExportFormat[HistoryRow],
        limit: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the selected calculations, at most the newest ``limit`` of them, as ``records`` does.

        ``identify`` must return the caller; it is called at the start and before each part. Raises InvalidInput for a
        malformed cursor, Forbidden if an admin loses the role meanwhile, and the errors of ``identify``, ``filter_of``
        and ``records``.
        """
        caller = await identify()
        history_filter = await filter_of(selection, caller, self.users)

        async def require_rights() -> None:
            if not (await identify()).is_admin and caller.is_admin:
                raise Forbidden("Only an admin may read other users' history.")

        read = partial(self.history.page, history_filter)
        before = cursor_id(selection.cursor)
        async with aclosing(self.records(caller, require_rights, read, export_format, before, limit)) as pages:
            async for page in pages:
                yield page

    async def records(
        self,
        caller: Principal,
        require_rights: Callable[[], Awaitable[object]],
        read: Callable[[bytes | None, int], Awaitable[Sequence[Row]]],
        export_format: ExportFormat[Row],
        before: bytes | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield records as the content of a file, newest first, in one or more parts.

        ``read(before, size)`` must return the newest records with ids below ``before``, up to ``size`` of them; None
        is no bound. At most ``limit`` records (at least 1) are yielded. ``require_rights`` is called before each part,
        and must raise an error if the caller has lost its rights.

        A selected record that exists from the start to the end of the export appears exactly once. Records made after
        the start are left out, except those that another process commits within about 2 s of the start. No transaction
        is open during a yield.

        Raises QuotaExceeded if nothing is left of the quota, Overloaded above the concurrency limits, StoreUnavailable,
        and the errors of ``require_rights``. An exception after the first yield means that the export is incomplete.
        An export that has begun may exceed the quota, because the client would have to repeat an incomplete one.
        """
        self.quota.require(caller)
        left = sys.maxsize if limit is None else limit
        with self._limit.acquire(caller.user_id):
            text = export_format.head
            while left:
                size = min(left, ROWS_PER_READ)
                async with self._read_lock:
                    await asyncio.sleep(self._pause)
                    began = self.thread_clock()
                    rows = await read(before, size)
                    worked = self.thread_clock() - began  # processor time of the event loop's thread, for all work
                    if len(rows) == ROWS_PER_READ:  # the shortest such read estimates the export's own part
                        self._shortest_read = min(self._shortest_read, worked)
                    others = worked - 2 * self._shortest_read
                    self._pause = max(0.0, min(_PAUSE_FACTOR * others, _LONGEST_PAUSE))
                    text += "".join(map(export_format.line, rows))
                await require_rights()
                content = text.encode()
                self.quota.charge(caller, len(content))
                yield content
                if len(rows) < size:
                    return
                text, before, left = "", rows[-1].id, left - size
