"""The gauges of the outbox: the number of waiting events, and the age of the oldest event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time

from structlog import get_logger

from pycalc.db.base import OutboxRow, OutboxStore
from pycalc.errors import StoreUnavailable
from pycalc.models.ids import unix_ms_of_id
from pycalc.observability.metrics import EventMetrics

# The database reads the whole outbox to count its rows. So the time from one count to the next is at least a second,
# and at least this multiple of the time that the count took.
_COUNT_SECONDS = 1.0
_PAUSE_FACTOR = 20

_log = get_logger(__name__)


class OutboxGauges:
    """The gauges of the outbox, which are normally 0 in a relay that does not hold the lease.

    While a relay waits after a failure, its gauges show the state of the outbox even without the lease. So several
    relays may count the same rows, and dashboards show the maximum of all relays.
    """

    def __init__(self, outbox: OutboxStore, metrics: EventMetrics, clock: Callable[[], float]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._gauge = metrics.outbox_backlog
        self._oldest_ms: int | None = None
        self._backlog = 0
        self._count_due = clock()
        metrics.outbox_oldest_seconds.set_function(
            lambda: 0.0 if self._oldest_ms is None else max(0.0, time() - self._oldest_ms / 1000)
        )

    def show(self, oldest: Sequence[OutboxRow], backlog: int = 0) -> None:
        """Show ``backlog`` waiting events, and the age of the first row of ``oldest``, or 0 if ``oldest`` is empty."""
        self._gauge.set(backlog)
        self._oldest_ms = unix_ms_of_id(oldest[0].row.id) if oldest else None

    async def show_oldest(self, oldest: Sequence[OutboxRow], *, more: bool) -> None:
        """Set both gauges from the oldest rows of the outbox.

        Set ``more`` if the outbox may have other rows. Then all rows are counted, but only now and then, because that
        is slow. Between two counts, and after a failed count, the number of rows is an estimate: the last count minus
        the rows removed since, but at least ``len(oldest)``.
        """
        if not more:
            self._count_due = self._clock()
            self.show(oldest, len(oldest))
            return
        if (began := self._clock()) >= self._count_due:
            try:
                self._backlog = await self._outbox.backlog()
            except StoreUnavailable as error:  # a count that takes too long must not keep the relay from publishing
                _log.warning("the waiting events can't be counted", error=str(error))
            self._count_due = self._clock() + max(_COUNT_SECONDS, _PAUSE_FACTOR * (self._clock() - began))
        self.show(oldest, max(self._backlog, len(oldest)))

    def note_removed(self, count: int) -> None:
        """Subtract ``count`` deleted rows from the estimated number of rows in the outbox."""
        self._backlog -= count
