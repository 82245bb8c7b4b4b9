"""The event stream in Google Cloud Pub/Sub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from google.api_core.exceptions import NotFound

from pycalc.models.events import Event
from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.base import PUBLISH_SECONDS, Member
from pycalc.streaming.pubsub.client import Connection, pubsub_errors
from pycalc.streaming.pubsub.options import pubsub_options
from pycalc.streaming.pubsub.publisher import Publishing
from pycalc.streaming.pubsub.subscriber import INTERVALS, Intervals, PubSubMember


class PubSubStream:
    """A topic of Pub/Sub. The user id is the ordering key of an event."""

    def __init__(
        self,
        url: str,
        metrics: EventMetrics,
        credentials: str = "",
        publish_seconds: float = PUBLISH_SECONDS,
        intervals: Intervals = INTERVALS,
    ) -> None:
        """Read the options in the URL; raises the errors of ``pubsub_options``."""
        self._options = pubsub_options(url, credentials)
        self._publish_seconds = publish_seconds
        self._intervals = intervals
        self._errors = pubsub_errors(metrics)
        self._connection = Connection(self._options)
        self._ensured = False

    async def publish(self, events: Sequence[Event]) -> None:
        if not events:
            return
        with self._errors.mapped("publish", "Pub/Sub does not accept events"):
            async with asyncio.timeout(self._publish_seconds):
                if not self._ensured:
                    await self._connection.ensure()
                    self._ensured = True
                clients = await self._connection.clients()
                publishing = Publishing(clients.publisher, self._options.topic, self._publish_seconds)
                try:
                    await publishing.send(events)
                except NotFound:
                    self._ensured = False
                    raise
        self._errors.published("Pub/Sub refuses events.", publishing.refused)

    @asynccontextmanager
    async def consume(self, group: str) -> AsyncIterator[Member]:
        """Return a context for receiving from the subscription ``{topic}-{group}``; raises StreamUnavailable."""
        with self._errors.mapped("receive", "Pub/Sub delivers no messages"):
            subscription = await self._connection.subscription(group)
            clients = await self._connection.clients()
        member = PubSubMember(clients.subscriber, subscription, self._errors, self._intervals)
        try:
            yield member
        finally:
            await member.aclose()

    async def ping(self) -> None:
        with self._errors.mapped("topic", "Pub/Sub does not give access to the topic"):
            await self._connection.ensure()
        self._errors.check()

    async def aclose(self) -> None:
        await self._connection.aclose()
