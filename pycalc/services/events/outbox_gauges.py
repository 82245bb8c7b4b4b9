"""The gauges of the outbox: the number of waiting events, and the age of the oldest event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time

from pycalc.db.base import OutboxRow, OutboxStore
from pycalc.models.ids import unix_ms_of_id
from pycalc.observability.metrics import EventMetrics

_COUNT_SECONDS = 1.0  # the shortest time between counts, because the database reads the whole outbox to count


class OutboxGauges:
    """The gauges of the outbox, which are 0 while another relay holds the lease.

    After a failure, several relays may show the same rows, so dashboards show the maximum of all relays.
    """

    def __init__(self, outbox: OutboxStore, metrics: EventMetrics, clock: Callable[[], float]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._gauge = metrics.outbox_backlog
        self._oldest_ms: int | None = None
        self._backlog = 0
        self._counted_at = -_COUNT_SECONDS
        metrics.outbox_oldest_seconds.set_function(
            lambda: 0.0 if self._oldest_ms is None else max(0.0, time() - self._oldest_ms / 1000)
        )

    def show(self, oldest: Sequence[OutboxRow], backlog: int = 0) -> None:
        """Set both gauges. ``oldest`` must begin with the oldest row of the outbox, or be empty."""
        self._gauge.set(backlog)
        self._oldest_ms = unix_ms_of_id(oldest[0].row.id) if oldest else None

    async def refresh(self) -> None:
        """Read the outbox and set both gauges; raises StoreUnavailable if the database does not answer."""
        oldest = await self._outbox.pending(1)
        self.show(oldest, await self._outbox.backlog() if oldest else 0)

    async def show_oldest(self, oldest: Sequence[OutboxRow], *, more: bool) -> None:
        """Set both gauges from the oldest rows of the outbox.

        If the outbox may have ``more`` rows, they are counted at most every second. In between, their number is the
        last count minus the rows removed since, but at least ``len(oldest)``. Raises StoreUnavailable if the database
        does not answer a count.
        """
        if not more:
            self._counted_at = -_COUNT_SECONDS
            self.show(oldest, len(oldest))
            return
        if self._clock() - self._counted_at >= _COUNT_SECONDS:
            self._backlog = await self._outbox.backlog()
            self._counted_at = self._clock()
        self.show(oldest, max(self._backlog, len(oldest)))

    def note_removed(self, count: int) -> None:
        """Subtract ``count`` deleted rows from the estimated number of rows in the outbox."""
        self._backlog -= count
