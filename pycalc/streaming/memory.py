"""A stream within this process, which stores nothing: publishing waits until the consumers have committed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from pycalc.errors import StreamUnavailable
from pycalc.models.events import Event
from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.base import MAX_MESSAGES, PUBLISH_SECONDS, RECEIVE_SECONDS, Delivery, Member, MessageBatch
from pycalc.urls import split_url


@dataclass(eq=False)
class _Handover:
    """Published events for one group. Their publisher waits until the group has committed them."""

    events: Sequence[Event]
    committed: asyncio.Future[None]  # cancelled if the publisher stops waiting


class _Group:
    """A consumer group with a queue of published events. If the group has no member, publishers time out."""

    def __init__(self) -> None:
        self.waiting: deque[_Handover] = deque()
        self.changed = asyncio.Condition()

    async def hand_over(self, events: Sequence[Event]) -> None:
        """Queue events in batches, each after the commit of the one before. Cancelling removes what is still queued."""
        for start in range(0, len(events), MAX_MESSAGES):
            handover = _Handover(events[start : start + MAX_MESSAGES], asyncio.get_running_loop().create_future())
            await self.put(handover)
            try:
                await handover.committed
            finally:
                if handover in self.waiting:
                    self.waiting.remove(handover)

    async def put(self, handover: _Handover) -> None:
        """Queue published events, unless their publisher has stopped waiting."""
        async with self.changed:
            if not handover.committed.done():
                self.waiting.append(handover)
                self.changed.notify()


class _MemoryMember:
    def __init__(self, group: _Group) -> None:
        self._group = group
        self.held: list[_Handover] = []

    async def receive(self) -> MessageBatch:
        try:
            async with asyncio.timeout(RECEIVE_SECONDS), self._group.changed:
                await self._group.changed.wait_for(lambda: self._group.waiting)
                handover = self._group.waiting.popleft()
        except TimeoutError:
            return MessageBatch((), None)
        self.held.append(handover)
        return MessageBatch([Delivery(event, b"", "memory") for event in handover.events], handover)

    async def commit(self, batch: MessageBatch) -> None:
        while self.held and batch.position is not None:
            handover = self.held.pop(0)
            if not handover.committed.done():
                handover.committed.set_result(None)
            if handover is batch.position:
                return


class MemoryStream:
    """The stream for a service without a broker."""

    def __init__(
        self, url: str, metrics: EventMetrics, _credentials: str = "", publish_seconds: float = PUBLISH_SECONDS
    ) -> None:
        """Create the stream for ``memory://``; raises ValueError if ``url`` has more than the scheme."""
        if any(split_url(url)[1:]):
            raise ValueError("memory:// has no host, name or option")
        self._publish_seconds = publish_seconds
        self._groups: dict[str, _Group] = {}
        self._failures = metrics.stream_failures

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish events, and return when every group has committed them.

        Raises StreamUnavailable if this takes longer than ``publish_seconds``, or if no group was ever joined.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._publish_seconds):
                await asyncio.gather(*(group.hand_over(events) for group in self._groups.values()))
            if self._groups:
                return
        self._failures.labels("publish").inc()
        raise StreamUnavailable("Events are not being consumed.")

    @asynccontextmanager
    async def consume(self, group: str) -> AsyncIterator[Member]:
        joined = self._groups.setdefault(group, _Group())
        member = _MemoryMember(joined)
        try:
            yield member
        finally:
            for handover in member.held:  # the other members receive its uncommitted events
                await joined.put(handover)

    async def ping(self) -> None:
        pass

    async def aclose(self) -> None:
        pass
