"""A stream within this process: it keeps nothing, whoever listens hears it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from pycalc.models.events import Event
from pycalc.observability.metrics import Metrics

MAX_BEHIND = 2_048
"""Events that a subscriber may be behind before it is dropped."""


class _Subscriber:
    """One listener's bounded queue."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._ended = False

    def offer(self, events: Sequence[Event]) -> bool:
        """Queue events; end the subscription and return False when it is too far behind."""
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


class MemoryStream:
    """The stream of the embedded service."""

    def __init__(self, metrics: Metrics) -> None:
        self._subscribers: set[_Subscriber] = set()
        self._dropped = metrics.subscribers_dropped
        metrics.subscribers.set_function(lambda: len(self._subscribers))

    async def publish(self, events: Sequence[Event]) -> None:
        """See Stream."""
        for subscriber in self._snapshot():
            if not subscriber.offer(events):
                self._subscribers.discard(subscriber)
                self._dropped.inc()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Event]]:
        """See Subscribable."""
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        try:
            yield aiter(subscriber)
        finally:
            self._subscribers.discard(subscriber)

    async def ping(self) -> None:
        """See Stream."""

    async def aclose(self) -> None:
        """See Stream."""
        for subscriber in self._snapshot():
            subscriber.end()

    def _snapshot(self) -> Iterator[_Subscriber]:
        return iter(tuple(self._subscribers))
