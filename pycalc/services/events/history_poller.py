"""The newest end of the history, as it grows: read once for all who follow it in this process (ADR 17)."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from time import time_ns

from structlog import get_logger

from pycalc.db.base import HistoryFilter, HistoryStore
from pycalc.errors import StoreUnavailable
from pycalc.models.events import Event, event_of
from pycalc.models.history import HistoryRow
from pycalc.models.ids import AHEAD_MS, first_id_of_ms
from pycalc.observability.metrics import EventMetrics

# With several processes: how old a calculation is before it is told of. Until then one with an earlier id may still
# be committed by another process: a row is committed within 2 s of its id, or its caller was refused.
HOLD_BACK_SECONDS = 2.5
_POLL_SECONDS = 0.25
_GATHER_SECONDS = 0.02
_ROWS = 500
# How much is told again after a clock was set back, so that nothing is missed: events are told at least once.
_REPEATED_MS = 1_000
# Events that a subscriber may be behind before it is dropped.
MAX_BEHIND = 2_048

_log = get_logger(__name__)


class Subscriber:
    """One reader's bounded queue of events, in the order of their ids, all after ``position``."""

    def __init__(self, position: bytes) -> None:
        self.position = position
        self._events: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._ended = False

    def offer(self, events: Sequence[Event]) -> bool:
        """Queue events; end the following and return False when it is too far behind."""
        if len(self._events) + len(events) > MAX_BEHIND:
            self.end()
            return False
        self._events.extend(events)
        self._changed.set()
        return True

    def end(self) -> None:
        """End the iteration after what is queued."""
        self._ended = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._ended:
                return
            self._changed.clear()
            await self._changed.wait()


class HistoryPoller:
    """Reads what is recorded, by whatever process, and hands it to the subscribers; reads nothing while there are none.

    ``shared`` says that other processes record too: then it looks by itself, and tells of each calculation after
    HOLD_BACK_SECONDS, so that the order of ids is the order of telling and an id is a place to resume from.
    """

    def __init__(
        self, history: HistoryStore, metrics: EventMetrics, *, shared: bool, clock_ns: Callable[[], int] = time_ns
    ) -> None:
        """``clock_ns`` is that of the ids."""
        self._history = history
        self._clock_ns = clock_ns
        self._shared = shared
        self._subscribers: dict[bytes | None, set[Subscriber]] = defaultdict(set)
        self._dropped = metrics.subscribers_dropped
        self._position = b""
        self._reading = asyncio.Lock()
        self._work = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        metrics.subscribers.set_function(self._count)

    def wake(self) -> None:
        """Say that something was recorded."""
        self._work.set()

    @asynccontextmanager
    async def subscribe(self, user_id: bytes | None) -> AsyncIterator[Subscriber]:
        """Follow one user's calculations, or everybody's with None; raises StoreUnavailable.

        The iteration ends when the tail closes, or when its reader has fallen too far behind: nobody waits for it.
        """
        async with self._reading:
            if not self._count():
                self._position = await self._end()
            else:
                await self._read()
            subscriber = Subscriber(self._position)
            self._subscribers[user_id].add(subscriber)
        if self._runner is None:
            own = Context()  # not that of who came first
            self._runner = asyncio.create_task(self._run(), name="history tail", context=own)
        try:
            yield subscriber
        finally:
            self._forget(user_id, subscriber)

    async def aclose(self) -> None:
        """End every following."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.end()

    def _count(self) -> int:
        return sum(map(len, self._subscribers.values()))

    def _forget(self, user_id: bytes | None, subscriber: Subscriber) -> None:
        self._subscribers[user_id].discard(subscriber)
        if not self._subscribers[user_id]:
            del self._subscribers[user_id]

    async def _end(self) -> bytes:
        """Return the id up to which everything is told already."""
        newest = await self._history.page(HistoryFilter(until=self._horizon()), None, 1)
        return newest[0].id if newest else b""

    def _horizon(self) -> bytes:
        """Return the id from which on others may still record; what a wrong clock has made is beyond it."""
        now_ms = self._clock_ns() // 1_000_000
        return first_id_of_ms(now_ms - round(HOLD_BACK_SECONDS * 1000) if self._shared else now_ms + 2 * AHEAD_MS)

    def _follow_the_clock(self) -> None:
        """Go back where the clock was set back by more than ids are kept on: what is recorded now has lower ids."""
        now_ms = self._clock_ns() // 1_000_000
        if self._position > first_id_of_ms(now_ms + AHEAD_MS):
            self._position = first_id_of_ms(now_ms - _REPEATED_MS)

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), _POLL_SECONDS if self._shared else None)
            self._work.clear()
            try:
                async with self._reading:
                    more = self._count() > 0 and await self._read()
            except StoreUnavailable as error:
                _log.warning("subscribers wait", error=str(error))
                more = True
                await asyncio.sleep(_POLL_SECONDS)
            if more:
                self._work.set()
            await asyncio.sleep(_GATHER_SECONDS)

    async def _read(self) -> bool:
        """Hand on what follows the position; return whether there may be more."""
        self._follow_the_clock()
        rows = await self._history.following(HistoryFilter(until=self._horizon()), self._position, _ROWS)
        for user_id, own in _by_subscriber(rows, self._subscribers).items():
            events = [event_of(row) for row in own]
            for subscriber in list(self._subscribers[user_id]):
                if not subscriber.offer(events):
                    self._forget(user_id, subscriber)
                    self._dropped.inc()
        if rows:
            self._position = rows[-1].id
        return len(rows) == _ROWS


def _by_subscriber(
    rows: Sequence[HistoryRow], subscribers: dict[bytes | None, set[Subscriber]]
) -> dict[bytes | None, list[HistoryRow]]:
    """Return the rows that each kind of subscriber is to hear of."""
    heard: dict[bytes | None, list[HistoryRow]] = {None: list(rows)} if rows and None in subscribers else {}
    for row in rows:
        if row.user_id in subscribers:
            heard.setdefault(row.user_id, []).append(row)
    return heard
