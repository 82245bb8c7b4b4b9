"""The connection to Pub/Sub: the channel, the error mapping, and the topic with its subscriptions.

It uses the library's asynchronous API clients, because its publisher starts a thread for each key and batch (ADR 14).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any, NamedTuple

import google.auth
import grpc
from google.api_core.exceptions import AlreadyExists, GoogleAPIError, NotFound, PermissionDenied, RetryError
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import ExpirationPolicy, PublisherAsyncClient, SubscriberAsyncClient, Subscription
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from structlog import get_logger

from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.base import USAGE_GROUP
from pycalc.streaming.broker_errors import BrokerErrors
from pycalc.streaming.pubsub.options import PubSubOptions

ACK_SECONDS = 10  # messages of a member that died are delivered again after this time
ASK: dict[str, Any] = {"retry": None, "timeout": 3.0}  # arguments of a call that is not retried

API_ERRORS: tuple[type[Exception], ...] = (GoogleAPIError, GoogleAuthError, grpc.RpcError)

_CHANNEL = (
    ("grpc.max_receive_message_length", -1),  # no limit here: Pub/Sub itself allows 10 MB
    ("grpc.max_send_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
)

_log = get_logger(__name__)


def pubsub_errors(metrics: EventMetrics) -> BrokerErrors:
    """Return the mapping of the exceptions of Pub/Sub's client library to StreamUnavailable."""

    def explain(error: Exception) -> tuple[str, str]:
        if isinstance(error, RetryError) and error.cause is not None:
            error = error.cause
        return type(error).__name__, str(error)

    return BrokerErrors(API_ERRORS, explain, metrics)


def attached(subscription: Subscription) -> bool:
    """Return False if the topic of a subscription was deleted."""
    return bool(subscription.topic != "_deleted-topic_")


def check_attached(subscription: Subscription) -> None:
    """Raise GoogleAPIError if a subscription gets no new messages because its topic was deleted."""
    if not attached(subscription):
        raise GoogleAPIError(
            f"{subscription.name} belongs to a deleted topic: delete the subscription too, once it is empty"
        )


class Clients(NamedTuple):
    """The API clients, and the gRPC channel that they share."""

    publisher: PublisherAsyncClient
    subscriber: SubscriberAsyncClient
    channel: grpc.aio.Channel


class Connection:
    """A connection that uses one gRPC channel for all calls. The first call opens the channel."""

    def __init__(self, options: PubSubOptions) -> None:
        self._options = options
        self._clients: Clients | None = None
        self._opening = asyncio.Lock()

    async def clients(self) -> Clients:
        """Return the clients; raises GoogleAuthError or GoogleAPIError if there are no usable credentials."""
        async with self._opening:
            if self._clients is not None:
                return self._clients
            transport = PublisherGrpcAsyncIOTransport
            if emulator := os.environ.get("PUBSUB_EMULATOR_HOST"):
                channel = grpc.aio.insecure_channel(emulator, options=_CHANNEL)
            else:
                try:
                    credentials, _ = await asyncio.to_thread(google.auth.default, scopes=transport.AUTH_SCOPES)
                except (AttributeError, OSError, RecursionError, TypeError, ValueError) as error:
                    # google.auth raises these if the file of the credentials is a folder or has other JSON
                    raise GoogleAPIError(f"The credentials can't be read: {error!r}") from error
                channel = transport.create_channel(self._options.endpoint, credentials=credentials, options=_CHANNEL)
            publisher = PublisherAsyncClient(transport=transport(channel=channel))
            subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
            self._clients = Clients(publisher, subscriber, channel)
            return self._clients

    async def aclose(self) -> None:
        """Close the channel, which ends the calls in progress."""
        if self._clients is not None:
            await self._clients.channel.close()

    async def ensure(self) -> None:
        """Check that the topic and the usage consumers' subscription exist, as ``subscription`` does, and are attached.

        Pub/Sub keeps a message only for existing subscriptions, so call this before the first publish.
        """
        check_attached(await self.subscription(USAGE_GROUP))

    async def subscription(self, group: str) -> Subscription:
        """Return the subscription of a group. Create a missing subscription and its topic if the options allow this.

        Without the right to read it, assume that it exists. Raises GoogleAPIError or GoogleAuthError.
        """
        clients = await self.clients()
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
