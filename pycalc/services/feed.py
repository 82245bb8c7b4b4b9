"""The live feed of events: resumed from the history, then as the stream brings them, without gap or duplicate."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from pycalc.db.base import HistoryFilter, HistoryStore
from pycalc.errors import Overloaded, StreamUnavailable
from pycalc.models.auth import Principal
from pycalc.models.events import Event, event_of
from pycalc.observability.metrics import Metrics
from pycalc.streaming.base import Stream, Subscribable

_PAGE = 200
MAX_FOLLOWERS = 1_000
MAX_FOLLOWERS_EACH = 20


def _selection(caller: Principal) -> HistoryFilter:
    return HistoryFilter(user_ids=None if caller.is_admin else (caller.user_id,))


class Feed:
    """What GET /events shows; bounded in followers, for all and for each user."""

    def __init__(self, history: HistoryStore, stream: Stream, metrics: Metrics) -> None:
        self._history = history
        self._stream = stream
        self._refused = metrics.subscribers_refused
        self._followers: Counter[bytes] = Counter()

    async def follow(self, identify: Callable[[], Awaitable[Principal]], last_id: bytes | None) -> AsyncIterator[Event]:
        """Yield the caller's events (an admin: everyone's), those after ``last_id`` first.

        Listening begins before the history is read, so nothing falls between; ids grow with commits, so what the
        history already gave is recognized by its id. The first event is a marker without payload: from where on the
        others follow. ``identify`` is asked before each event, and raises when the caller has lost
        its rights. Ends when the stream ends or the client reads too slowly; raises Overloaded over the bounds.
        """
        if not isinstance(self._stream, Subscribable):
            raise StreamUnavailable("This service's stream can't be followed.")
        caller = await identify()
        with self._counted(caller.user_id):
            async with self._stream.subscribe() as live:
                newest = await self._history.page(_selection(caller), None, 1)
                seen = newest[0].id if newest else b""
                yield Event(last_id or seen, caller.user_id, b"")
                if last_id is not None:
                    async for event in self._replay(_selection(caller), last_id):
                        seen = event.id
                        yield event
                async for event in live:
                    caller = await identify()
                    if event.id > seen and (caller.is_admin or event.key == caller.user_id):
                        yield event

    @contextmanager
    def _counted(self, user: bytes) -> Iterator[None]:
        if self._followers[user] >= MAX_FOLLOWERS_EACH or self._followers.total() >= MAX_FOLLOWERS:
            self._refused.inc()
            raise Overloaded("Too many clients follow events.", 5)
        self._followers[user] += 1
        try:
            yield
        finally:
            self._followers[user] -= 1
            if not self._followers[user]:
                del self._followers[user]

    async def _replay(self, selection: HistoryFilter, after: bytes) -> AsyncIterator[Event]:
        while rows := await self._history.following(selection, after, _PAGE):
            for row in rows:
                yield event_of(row)
            after = rows[-1].id
