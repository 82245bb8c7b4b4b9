"""The live feed of events: resumed from the history, then as the stream brings them, without gap or duplicate."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pycalc.db.base import HistoryFilter, HistoryStore
from pycalc.errors import StreamUnavailable
from pycalc.models.auth import Principal
from pycalc.models.events import Event, event_of
from pycalc.streaming.base import Stream, Subscribable

_PAGE = 200


class Feed:
    """What GET /events shows."""

    def __init__(self, history: HistoryStore, stream: Stream) -> None:
        self._history = history
        self._stream = stream

    async def follow(self, caller: Principal, last_id: bytes | None) -> AsyncIterator[Event]:
        """Yield the caller's events (an admin: everyone's), those after ``last_id`` first.

        Listening begins before the history is read, so nothing falls between; ids grow with commits, so what the
        history already gave is recognized by its id. Ends when the stream ends or the client reads too slowly.
        """
        if not isinstance(self._stream, Subscribable):
            raise StreamUnavailable("This service's stream can't be followed.")
        own = None if caller.is_admin else (caller.user_id,)
        async with self._stream.subscribe() as live:
            seen = last_id or b""
            if last_id is not None:
                async for event in self._replay(HistoryFilter(user_ids=own), last_id):
                    seen = event.id
                    yield event
            async for event in live:
                if event.id > seen and (own is None or event.key in own):
                    yield event

    async def _replay(self, selection: HistoryFilter, after: bytes) -> AsyncIterator[Event]:
        while rows := await self._history.following(selection, after, _PAGE):
            for row in rows:
                yield event_of(row)
            after = rows[-1].id
