"""A relay of outbox events, and a stream in memory that can fail, hang and refuse events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from pycalc.backoff import backoff_after
from pycalc.errors import EventsRefused, StreamUnavailable
from pycalc.models.events import Event
from pycalc.observability.metrics import Metrics
from pycalc.services.events.relay import Relay
from tests.harness.stores import MemoryOutboxStore
from tests.harness.virtual_time import now


class ListeningStream:
    """A stream that keeps the published events, and notes the outbox's size at each batch."""

    def __init__(self, outbox: MemoryOutboxStore) -> None:
        self.events: list[Event] = []
        # The event ids of each batch, whether the batch was accepted or not.
        self.attempts: list[list[bytes]] = []
        # The number of entries in the outbox when each batch was published.
        self.in_outbox: list[int] = []
        self.failure: Exception | None = None
        self.refused: set[bytes] = set()
        # The largest batch in which the stream can name its refused events: a larger one that contains a refused event
        # fails as a whole. None means no limit.
        self.most: int | None = None
        self.hanging = False
        self._outbox = outbox

    async def publish(self, events: Sequence[Event]) -> None:
        self.attempts.append([event.id for event in events])
        self.in_outbox.append(len(self._outbox.entries))
        if self.hanging:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        refused = {event.id: "too large" for event in events if event.id in self.refused}
        if refused and self.most is not None and len(events) > self.most:
            raise StreamUnavailable("It takes too long to find out what is refused.")
        self.events += [event for event in events if event.id not in refused]
        if refused:
            raise EventsRefused("Some events are too large.", refused)

    async def ping(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def ten_minutes(_error: Exception, _failures: int, _longest: float) -> float:
    """Return a backoff of 600 s for every error, in place of ``backoff_after``."""
    return 600.0


@asynccontextmanager
async def relaying(
    outbox: MemoryOutboxStore,
    stream: ListeningStream,
    backoff: Callable[[Exception, int, float], float] = backoff_after,
) -> AsyncIterator[tuple[Relay, Metrics]]:
    """Create a relay from the outbox to the stream, with the running loop's clock; close it at the end."""
    metrics = Metrics()
    relay = Relay(outbox, stream, metrics, try_seconds=0.2, backoff=backoff, clock=now)
    try:
        yield relay, metrics
    finally:
        await relay.aclose()
