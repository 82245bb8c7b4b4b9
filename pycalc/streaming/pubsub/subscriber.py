"""Pub/Sub's consuming side: a member of a group, by unary pulls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import NamedTuple, cast

from google.api_core.exceptions import DeadlineExceeded, NotFound
from google.pubsub_v1 import (
    AcknowledgeRequest,
    ModifyAckDeadlineRequest,
    PubsubMessage,
    PullRequest,
    ReceivedMessage,
    SubscriberAsyncClient,
    Subscription,
)

from pycalc.errors import StreamUnavailable
from pycalc.streaming.base import MAX_MESSAGES, RECEIVE_SECONDS, Batch, Delivery
from pycalc.streaming.broker_errors import BrokerErrors
from pycalc.streaming.envelope import event_of_message
from pycalc.streaming.pubsub.client import ACK_SECONDS, API_ERRORS, ASK, attached, check_attached

_PULL_SECONDS = 60.0
"""The service answers an empty pull before: giving up earlier may leave messages with nobody until their lease ends."""
_DETACHED_SECONDS = 2.0
"""The same where nothing can arrive but what comes again."""
_LOOK_SECONDS = 3.0
"""How often a silent subscription is looked at."""
_EXTEND_SECONDS = ACK_SECONDS / 3
_MAX_LEASE_SECONDS = 600.0


class _Puller:
    """The pulls of one subscription."""

    def __init__(self, client: SubscriberAsyncClient, subscription: Subscription) -> None:
        self.client = client
        self.subscription = subscription.name
        self._found = subscription
        self._looked = monotonic()
        self._pulling: asyncio.Task[list[ReceivedMessage]] | None = None

    async def messages(self) -> list[ReceivedMessage]:
        """Return the next messages, or none after a while; raises GoogleAPIError, also where none can come any more.

        Being cancelled leaves them to the next call.
        """
        if self._pulling is None:
            self._pulling = asyncio.create_task(self._pull())
        done, _ = await asyncio.wait({self._pulling}, timeout=RECEIVE_SECONDS)
        messages: list[ReceivedMessage] = []
        if done:
            pulled, self._pulling = self._pulling, None
            messages = pulled.result()
            if not messages:
                check_attached(self._found)
        if messages:
            self._looked = monotonic()
        else:
            await self._look()
        return messages

    async def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Say that messages are dealt with; raises GoogleAPIError."""
        if ack_ids:
            request = AcknowledgeRequest(subscription=self.subscription, ack_ids=ack_ids)
            await self.client.acknowledge(request=request, **ASK)

    async def hold(self, ack_ids: Sequence[str], seconds: int) -> None:
        """Keep messages for some seconds more; 0 gives them back. Raises GoogleAPIError."""
        if ack_ids:
            request = ModifyAckDeadlineRequest(
                subscription=self.subscription, ack_ids=ack_ids, ack_deadline_seconds=seconds
            )
            await self.client.modify_ack_deadline(request=request, **ASK)

    async def stop(self) -> list[str]:
        """End the pull that is under way; return the ack ids of what it brought all the same."""
        pulling, self._pulling = self._pulling, None
        if pulling is None:
            return []
        pulling.cancel()
        await asyncio.wait({pulling})
        brought = [] if pulling.cancelled() or pulling.exception() else pulling.result()
        return [message.ack_id for message in brought]

    async def _look(self) -> None:
        """Raise GoogleAPIError where the subscription or its topic has gone: who waits for messages may not be told."""
        if monotonic() < self._looked + _LOOK_SECONDS or not attached(self._found):
            return
        self._looked = monotonic()
        try:
            found = await self.client.get_subscription(subscription=self.subscription, **ASK)
        except NotFound:
            raise
        except API_ERRORS:  # of this call only: what is wrong with pulling, pulling tells
            return
        check_attached(found)

    async def _pull(self) -> list[ReceivedMessage]:
        request = PullRequest(subscription=self.subscription, max_messages=MAX_MESSAGES)
        seconds = _PULL_SECONDS if attached(self._found) else _DETACHED_SECONDS
        try:
            response = await self.client.pull(request=request, retry=None, timeout=seconds)
        except DeadlineExceeded:
            return []
        # what comes again may come beside what comes first, and behind it
        return sorted(response.received_messages, key=_published_ns)


def _published_ns(received: ReceivedMessage) -> int:
    nanoseconds: int = PubsubMessage.pb(received.message).publish_time.ToNanoseconds()
    return nanoseconds


class _Lease(NamedTuple):
    """A batch that is not committed yet."""

    since: float
    ack_ids: Sequence[str]


class PubSubMember:
    """See Member; it keeps its leases while a batch is dealt with, up to ten minutes."""

    def __init__(self, client: SubscriberAsyncClient, subscription: Subscription, errors: BrokerErrors) -> None:
        self._puller = _Puller(client, subscription)
        self._errors = errors
        self._leases: list[_Lease] = []
        self._extending = asyncio.create_task(self._extend(), name="Pub/Sub leases")

    async def receive(self) -> Batch:
        with self._errors.mapped("receive", "Pub/Sub gives no messages."):
            messages = await self._puller.messages()
        if messages:
            self._errors.over()
        deliveries = []
        for received in messages:
            event = event_of_message(received.message.data)
            raw = b"" if event is not None else received.message.data
            deliveries.append(Delivery(event, raw, f"{self._puller.subscription} {received.message.message_id}"))
        lease = _Lease(monotonic(), [received.ack_id for received in messages])
        if messages:
            self._leases.append(lease)
        return Batch(deliveries, lease)

    async def commit(self, batch: Batch) -> None:
        lease = cast("_Lease", batch.position)
        held = self._leases.index(lease) + 1 if lease in self._leases else 0
        done, self._leases = self._leases[:held] or [lease], self._leases[held:]
        with self._errors.mapped("commit", "Pub/Sub takes no commits."):
            for dealt_with in done:
                await self._puller.acknowledge(dealt_with.ack_ids)

    async def aclose(self) -> None:
        """Give back what is not committed."""
        self._extending.cancel()
        await asyncio.wait({self._extending})
        brought = await self._puller.stop()
        with suppress(*API_ERRORS):
            for ack_ids in (*(lease.ack_ids for lease in self._leases), brought):
                await self._puller.hold(ack_ids, 0)

    async def _extend(self) -> None:
        while True:
            await asyncio.sleep(_EXTEND_SECONDS)
            self._leases = [lease for lease in self._leases if lease.since > monotonic() - _MAX_LEASE_SECONDS]
            for lease in self._leases:
                with suppress(StreamUnavailable), self._errors.mapped("extend", "Pub/Sub extends no leases."):
                    await self._puller.hold(lease.ack_ids, ACK_SECONDS)
