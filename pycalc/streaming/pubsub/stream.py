"""The event stream in Google Cloud Pub/Sub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from google.api_core.exceptions import AlreadyExists, NotFound, PermissionDenied
from google.pubsub_v1 import ExpirationPolicy, Subscription
from structlog import get_logger

from pycalc.models.events import Event
from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.base import PUBLISH_SECONDS, USAGE_GROUP, Member
from pycalc.streaming.pubsub.client import ACK_SECONDS, ASK, Clients, check_attached, open_clients, pubsub_errors
from pycalc.streaming.pubsub.options import pubsub_options
from pycalc.streaming.pubsub.publisher import Publishing
from pycalc.streaming.pubsub.subscriber import INTERVALS, Intervals, PubSubMember

_log = get_logger(__name__)


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
        self._opened: Clients | None = None
        self._opening = asyncio.Lock()
        self._ensured = False

    async def publish(self, events: Sequence[Event]) -> None:
        if not events:
            return
        with self._errors.mapped("publish", "Pub/Sub does not accept events"):
            async with asyncio.timeout(self._publish_seconds):
                if not self._ensured:  # Pub/Sub keeps a message only for existing subscriptions
                    check_attached(await self._subscription(USAGE_GROUP))
                    self._ensured = True
                clients = await self._clients()
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
            subscription = await self._subscription(group)
            clients = await self._clients()
        member = PubSubMember(clients.subscriber, subscription, self._errors, self._intervals)
        try:
            yield member
        finally:
            await member.aclose()

    async def ping(self) -> None:
        with self._errors.mapped("topic", "Pub/Sub does not give access to the topic"):
            check_attached(await self._subscription(USAGE_GROUP))
        self._errors.check()

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.channel.close()  # which ends the calls in progress

    async def _clients(self) -> Clients:
        async with self._opening:
            if self._opened is None:
                self._opened = await open_clients(self._options.endpoint)
            return self._opened

    async def _subscription(self, group: str) -> Subscription:
        """Return the subscription of a group. Create a missing subscription and its topic if the options allow this.

        Without the right to read it, assume that it exists. Raises GoogleAPIError or GoogleAuthError.
        """
        clients = await self._clients()
        name = self._options.subscription(group)
        try:
            return await clients.subscriber.get_subscription(subscription=name, **ASK)
        except PermissionDenied:
            return Subscription(name=name)
        except NotFound:
            if not self._options.create:
                raise
        topic = self._options.topic
        with suppress(AlreadyExists):
            await clients.publisher.create_topic(name=topic, **ASK)
            _log.warning("the topic was missing and has been created", topic=topic)
        wanted = Subscription(
            name=name,
            topic=topic,
            enable_message_ordering=True,
            ack_deadline_seconds=ACK_SECONDS,
            expiration_policy=ExpirationPolicy(),  # never
        )
        with suppress(AlreadyExists):
            await clients.subscriber.create_subscription(request=wanted, **ASK)
            _log.warning("the subscription was missing and has been created", subscription=name)
        return wanted
