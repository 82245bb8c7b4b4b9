"""The clients of Pub/Sub's API, their errors, and deleted topics.

The library's own publisher is not used, because it starts a thread for each ordering key and batch (ADR 14).
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, NamedTuple

import google.auth
import grpc
from google.api_core.exceptions import GoogleAPIError, RetryError
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient, Subscription
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.broker_errors import BrokerErrors

ACK_SECONDS = 10  # messages of a member that died are delivered again after this time
ASK: dict[str, Any] = {"retry": None, "timeout": 3.0}  # arguments of a call that is not retried

API_ERRORS: tuple[type[Exception], ...] = (GoogleAPIError, GoogleAuthError, grpc.RpcError)

_CHANNEL = (
    ("grpc.max_receive_message_length", -1),  # no limit here: Pub/Sub itself allows 10 MB
    ("grpc.max_send_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
)


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


async def open_clients(endpoint: str) -> Clients:
    """Open the clients; raises GoogleAuthError or GoogleAPIError if there are no usable credentials."""
    transport = PublisherGrpcAsyncIOTransport
    if emulator := os.environ.get("PUBSUB_EMULATOR_HOST"):
        channel = grpc.aio.insecure_channel(emulator, options=_CHANNEL)
    else:
        try:
            credentials, _ = await asyncio.to_thread(google.auth.default, scopes=transport.AUTH_SCOPES)
        except (AttributeError, OSError, RecursionError, TypeError, ValueError) as error:
            # google.auth raises these if the file of the credentials is a folder or has other JSON
            raise GoogleAPIError(f"The credentials can't be read: {error!r}") from error
        channel = transport.create_channel(endpoint, credentials=credentials, options=_CHANNEL)
    publisher = PublisherAsyncClient(transport=transport(channel=channel))
    return Clients(publisher, SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel)), channel)
