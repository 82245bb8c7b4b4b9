"""Consuming from Pub/Sub: a group member that uses unary pulls."""

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


class Intervals(NamedTuple):
    """Time limits and intervals of a member, in seconds."""

    # Longer than Pub/Sub takes to answer an empty pull. A pull that is cancelled earlier may lose messages until their
    # lease ends.
    pull: float = 60.0
    # The limit of a pull after the topic was deleted, when only redelivered messages can arrive.
    detached_pull: float = 2.0
    # How often to check that a silent subscription still exists.
    check: float = 3.0
    extend: float = ACK_SECONDS / 3
    max_lease: float = 600.0


INTERVALS = Intervals()


class _Puller:
    """The calls that pull, acknowledge and hold the messages of one subscription."""

    def __init__(self, client: SubscriberAsyncClient, subscription: Subscription, intervals: Intervals) -> None:
        self.client = client
        self.subscription = subscription.name
        self._intervals = intervals
        self._found = subscription
        self._checked = monotonic()
        self._pulling: asyncio.Task[list[ReceivedMessage]] | None = None

    async def messages(self) -> list[ReceivedMessage]:
        """Return the next messages, none after a while; raises GoogleAPIError, also when the topic was deleted.

        After a cancelled call the next call returns the messages.
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
            self._checked = monotonic()
        else:
            await self._check()
        return messages

    async def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Acknowledge messages; raises GoogleAPIError."""
        if ack_ids:
            request = AcknowledgeRequest(subscription=self.subscription, ack_ids=ack_ids)
            await self.client.acknowledge(request=request, **ASK)

    async def hold(self, ack_ids: Sequence[str], seconds: int) -> None:
        """Hold messages for some seconds more; 0 returns them to the group. Raises GoogleAPIError."""
        if ack_ids:
            request = ModifyAckDeadlineRequest(
                subscription=self.subscription, ack_ids=ack_ids, ack_deadline_seconds=seconds
            )
            await self.client.modify_ack_deadline(request=request, **ASK)

    async def stop(self) -> list[str]:
        """Cancel the pull in progress; return the ack ids of messages that it received nevertheless."""
        pulling, self._pulling = self._pulling, None
        if pulling is None:
            return []
        pulling.cancel()
        await asyncio.wait({pulling})
        brought = [] if pulling.cancelled() or pulling.exception() else pulling.result()
        return [message.ack_id for message in brought]

    async def _check(self) -> None:
        """Raise GoogleAPIError when the subscription or its topic was deleted: a pull may just stay empty."""
        if monotonic() < self._checked + self._intervals.check or not attached(self._found):
            return
        self._checked = monotonic()
        try:
            found = await self.client.get_subscription(subscription=self.subscription, **ASK)
        except NotFound:
            raise
        except API_ERRORS:  # the pulls meet lasting errors themselves
            return
        check_attached(found)

    async def _pull(self) -> list[ReceivedMessage]:
        request = PullRequest(subscription=self.subscription, max_messages=MAX_MESSAGES)
        seconds = self._intervals.pull if attached(self._found) else self._intervals.detached_pull
        try:
            response = await self.client.pull(request=request, retry=None, timeout=seconds)
        except DeadlineExceeded:
            return []
        # redelivered messages may come in one response with newer ones, and after them
        return sorted(response.received_messages, key=_published_ns)


def _published_ns(received: ReceivedMessage) -> int:
    nanoseconds: int = PubsubMessage.pb(received.message).publish_time.ToNanoseconds()
    return nanoseconds


class _Lease(NamedTuple):
    """A batch that is not committed yet, with the time of its pull."""

    since: float
    ack_ids: Sequence[str]


class PubSubMember:
    """A member of a Pub/Sub group; it extends the leases of uncommitted batches for up to ten minutes."""

    def __init__(
        self,
        client: SubscriberAsyncClient,
        subscription: Subscription,
        errors: BrokerErrors,
        intervals: Intervals = INTERVALS,
    ) -> None:
        self._puller = _Puller(client, subscription, intervals)
        self._intervals = intervals
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
            for committed in done:
                await self._puller.acknowledge(committed.ack_ids)

    async def aclose(self) -> None:
        """Return uncommitted messages to the group."""
        self._extending.cancel()
        await asyncio.wait({self._extending})
        brought = await self._puller.stop()
        with suppress(*API_ERRORS):
            for ack_ids in (*(lease.ack_ids for lease in self._leases), brought):
                await self._puller.hold(ack_ids, 0)

    async def _extend(self) -> None:
        while True:
            await asyncio.sleep(self._intervals.extend)
            oldest = monotonic() - self._intervals.max_lease
            self._leases = [lease for lease in self._leases if lease.since > oldest]
            for lease in self._leases:
                with suppress(StreamUnavailable), self._errors.mapped("extend", "Pub/Sub extends no leases."):
                    await self._puller.hold(lease.ack_ids, ACK_SECONDS)
