"""The history poller, which reads each new calculation once for all subscribers in this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from time import time_ns

from structlog import get_logger

from pycalc.backoff import wait_until_set
from pycalc.db.base import HistoryFilter, HistoryStore
from pycalc.errors import PycalcError
from pycalc.models.events import Event, event_of
from pycalc.models.ids import AHEAD_MS, first_id_of_ms
from pycalc.observability.metrics import EventMetrics

# With several processes, subscribers get a calculation once it is this old. Until then, another process may commit a
# calculation with a lower id. A row is answered, and so committed, within about 1.4 s after its id is made. A row whose
# outcome was unknown then may be committed later, and is not sent live.
HOLD_BACK_SECONDS = 2.5
_POLL_SECONDS = 0.25
_GATHER_SECONDS = 0.02
_ROWS = 500
_REPEATED_MS = 1_000  # the last second is read again after the clock was set back, so that no event is lost
HEARTBEAT_SECONDS = 15.0
HEARTBEAT = Event(b"", b"", b"")  # yielded after HEARTBEAT_SECONDS without an event
MAX_BEHIND = 2_048  # a subscriber with more events in its queue is dropped

_log = get_logger(__name__)


class Subscriber:
    """A bounded queue of events for one client, with ascending ids above ``position``, unless a clock is set back."""

    def __init__(self, position: bytes) -> None:
        self.position = position
        # A list and a future take much less memory than an asyncio.Queue, and there may be thousands of subscribers.
        self._events = list[Event | None]()  # None ends the iteration
        self._arrival: asyncio.Future[None] | None = None  # set while the iteration waits

    def offer(self, events: Sequence[Event]) -> bool:
        """Queue events and return True. If the queue would exceed MAX_BEHIND, end the subscription and return False."""
        if len(self._events) + len(events) > MAX_BEHIND:
            self.end()
            return False
        self._put(*events)
        return True

    def end(self) -> None:
        """End the iteration after the queued events."""
        self._put(None)

    def _put(self, *events: Event | None) -> None:
        self._events += events
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def __aiter__(self) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        while True:
            if not self._events:
                self._arrival = loop.create_future()
                heartbeat = loop.call_later(HEARTBEAT_SECONDS, self._put)
                try:
                    await self._arrival
                finally:
                    heartbeat.cancel()
            event = self._events.pop(0) if self._events else HEARTBEAT
            if event is None:
                return
            yield event


class HistoryPoller:
    """A reader of new calculations in the database for subscribers. Without subscribers, it reads nothing.

    It reads when ``wake`` is called. If other processes record calculations too (``shared``), it also reads at
    intervals, and delays each calculation by HOLD_BACK_SECONDS. So events come in the order of their ids.
    """

    def __init__(
        self, history: HistoryStore, metrics: EventMetrics, *, shared: bool, clock_ns: Callable[[], int] = time_ns
    ) -> None:
        """Create a poller. ``clock_ns`` must be the clock that gives new ids their time, in nanoseconds."""
        self._history = history
        self._clock_ns = clock_ns
        self._shared = shared
        self._subscribers: dict[bytes | None, set[Subscriber]] = defaultdict(set)
        self._dropped = metrics.subscribers_dropped
        self._position = b""
        self._ended = False
        self._reading = asyncio.Lock()
        self._work = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        metrics.subscribers.set_function(self._count)

    def wake(self) -> None:
        """Tell the poller that calculations were recorded."""
        self._work.set()

    @asynccontextmanager
    async def subscribe(self, user_id: bytes | None) -> AsyncIterator[Subscriber]:
        """Return a context with a subscriber to one user's calculations, or to all users' if ``user_id`` is None.

        Its iteration ends with the poller, or when the client falls too far behind. Raises StoreUnavailable.
        """
        async with self._reading:
            if self._count():
                await self._read()
            else:
                newest = await self._history.page(HistoryFilter(until=self._horizon()), None, 1)
                self._position = newest[0].id if newest else b""
            subscriber = Subscriber(self._position)
            self._subscribers[user_id].add(subscriber)
            if self._ended:
                subscriber.end()
        if self._runner is None:
            empty = Context()  # the task must not log under the first subscriber's request
            self._runner = asyncio.create_task(self._run(), name="history poller", context=empty)
        try:
            yield subscriber
        finally:
            self._forget(user_id, subscriber)

    def end(self) -> None:
        """End all subscriptions after their queued events; a later subscription yields no event."""
        self._ended = True
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.end()

    async def aclose(self) -> None:
        """Stop reading, and end all subscriptions after their queued events."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})
        self.end()

    def _count(self) -> int:
        return sum(map(len, self._subscribers.values()))

    def _forget(self, user_id: bytes | None, subscriber: Subscriber) -> None:
        self._subscribers[user_id].discard(subscriber)
        if not self._subscribers[user_id]:
            del self._subscribers[user_id]

    def _horizon(self) -> bytes:
        """Return the id below which calculations may be read."""
        # With one process, the time in the id is in the future: only calculations dated by a wrong clock are left out.
        now_ms = self._clock_ns() // 1_000_000
        return first_id_of_ms(now_ms - round(HOLD_BACK_SECONDS * 1000) if self._shared else now_ms + 2 * AHEAD_MS)

    async def _run(self) -> None:
        while True:
            await wait_until_set(self._work, _POLL_SECONDS if self._shared else None)
            self._work.clear()
            try:
                async with self._reading:
                    more = self._count() > 0 and await self._read()
            except Exception as error:  # the events are in the database, so every error is retried
                trace = None if isinstance(error, PycalcError) else error
                _log.warning("events were not read for subscribers", error=str(error), exc_info=trace)
                more = True
                await asyncio.sleep(_POLL_SECONDS)
            if more:
                self._work.set()
            await asyncio.sleep(_GATHER_SECONDS)

    async def _read(self) -> bool:
        """Read the next events and queue them for the subscribers; return whether there may be more."""
        now_ms = self._clock_ns() // 1_000_000
        if self._position > first_id_of_ms(now_ms + AHEAD_MS):  # the clock was set back, so new ids are lower
            self._position = first_id_of_ms(now_ms - _REPEATED_MS)
        rows = await self._history.following(HistoryFilter(until=self._horizon()), self._position, _ROWS)
        selected: dict[bytes | None, list[Event]] = defaultdict(list)
        for row in rows:
            for user_id in (None, row.user_id):  # None is the key of subscribers to all users
                if user_id in self._subscribers:
                    selected[user_id].append(event_of(row))
        for user_id, events in selected.items():
            for subscriber in list(self._subscribers[user_id]):
                if not subscriber.offer(events):
                    self._forget(user_id, subscriber)
                    self._dropped.inc()
        if rows:
            self._position = rows[-1].id
        return len(rows) == _ROWS
