"""The event feed of ``GET /events``: first events from the history, then live events, without a gap between them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from pycalc.db.base import HistoryFilter, HistoryStore
from pycalc.models.auth import Principal
from pycalc.models.events import Event, event_of
from pycalc.models.ids import is_ahead
from pycalc.observability.metrics import EventMetrics
from pycalc.services.events.history_poller import HEARTBEAT, HistoryPoller, Subscriber
from pycalc.services.limits.concurrency import ConcurrencyLimit

_PAGE = 200
MAX_SUBSCRIBERS_EACH = 20


class EventFeed:
    """The event feed, with a limit on subscribers in total and per user."""

    def __init__(self, history: HistoryStore, poller: HistoryPoller, metrics: EventMetrics, total: int) -> None:
        """Limit the subscribers to ``total``, and those of each user to MAX_SUBSCRIBERS_EACH."""
        self._history = history
        self._poller = poller
        self._limit = ConcurrencyLimit(
            total, metrics.subscribers_refused, "Too many clients follow events.", each=MAX_SUBSCRIBERS_EACH
        )

    async def subscribe(
        self, identify: Callable[[], Awaitable[Principal]], last_id: bytes | None
    ) -> AsyncGenerator[Event]:
        """Yield the caller's events with ids above ``last_id`` in ascending order. An admin gets all users' events.

        The first event is always empty and only marks the position in the feed. Without ``last_id``, only new events
        follow it. If an id is over AHEAD_MS ahead of the clock, because the clock was set back, lower ids may follow.

        After some seconds without an event, HEARTBEAT is yielded. ``identify`` is called before each item, and must
        raise an error if the caller has lost the right to read events. The feed ends when the service stops, when the
        caller's role changes, or when the client reads too slowly. Raises Overloaded above the limits,
        StoreUnavailable, and the errors of ``identify``.
        """
        caller = await identify()
        user_id = None if caller.is_admin else caller.user_id
        with self._limit.acquire(caller.user_id):
            async with self._poller.subscribe(user_id) as subscriber:
                seen = subscriber.position if last_id is None else last_id
                yield Event(seen, caller.user_id, b"")
                async for event in self._follow(user_id, seen, subscriber):
                    if (await identify()).is_admin != caller.is_admin:
                        return
                    if event is HEARTBEAT:
                        yield event
                    elif event.id > seen or is_ahead(seen):
                        seen = event.id
                        yield event

    def end(self) -> None:
        """End all feeds after their queued events, and feeds that begin later after the events from the history."""
        self._poller.end()

    async def _follow(self, user_id: bytes | None, after: bytes, subscriber: Subscriber) -> AsyncIterator[Event]:
        """Yield recorded events with ids above ``after``, up to the subscriber's position, and then its live events."""
        selection = HistoryFilter(None if user_id is None else (user_id,))
        while after < subscriber.position and (rows := await self._history.following(selection, after, _PAGE)):
            for row in rows:
                if row.id <= subscriber.position:
                    yield event_of(row)
            after = rows[-1].id
        async for event in subscriber:
            yield event
