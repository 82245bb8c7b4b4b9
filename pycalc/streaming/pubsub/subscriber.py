"""Consuming from Pub/Sub by single pull requests."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple, cast

from google.api_core.exceptions import DeadlineExceeded, NotFound
from google.pubsub_v1 import PubsubMessage, ReceivedMessage, SubscriberAsyncClient, Subscription

from pycalc.errors import StreamUnavailable
from pycalc.streaming.base import MAX_MESSAGES, RECEIVE_SECONDS, MessageBatch, delivery_of
from pycalc.streaming.broker_errors import BrokerErrors
from pycalc.streaming.pubsub.client import ACK_SECONDS, API_ERRORS, ASK, attached, check_attached


class Intervals(NamedTuple):
    """Time limits and intervals of a member of a consumer group, in seconds."""

    pull: float = 60.0  # Pub/Sub answers an empty pull sooner; a cancelled one may lose messages until their lease ends
    detached_pull: float = 2.0  # the limit of a pull after the topic was deleted: only redelivered messages can arrive
    check: float = 3.0  # how often to check that a silent subscription still exists
    extend: float = ACK_SECONDS / 3
    max_lease: float = 600.0


INTERVALS = Intervals()


class _Lease(NamedTuple):
    """The acknowledgement ids of a batch that is not committed yet, and the time at which it was received."""

    since: float
    ack_ids: list[str]


@dataclass(eq=False)
class PubSubMember:
    """A member of a consumer group. It extends the leases of its uncommitted messages for up to ten minutes."""

    client: SubscriberAsyncClient
    subscription: Subscription
    errors: BrokerErrors
    intervals: Intervals

    def __post_init__(self) -> None:
        self._checked = monotonic()
        self._pulling: asyncio.Task[list[ReceivedMessage]] | None = None
        self._leases: list[_Lease] = []
        self._extending = asyncio.create_task(self._extend(), name="Pub/Sub leases")

    async def receive(self) -> MessageBatch:
        messages: list[ReceivedMessage] = []
        with self.errors.mapped("receive", "Pub/Sub delivers no messages"):
            # The pull of a cancelled call goes on; the next call returns its messages.
            if self._pulling is None:
                self._pulling = asyncio.create_task(self._pull())
            done, _ = await asyncio.wait({self._pulling}, timeout=RECEIVE_SECONDS)
            if done:
                pulled, self._pulling = self._pulling, None
                messages = pulled.result()
            if not messages:
                if done:
                    check_attached(self.subscription)
                await self._check()
        lease = _Lease(monotonic(), [received.ack_id for received in messages])
        if messages:
            self._checked = monotonic()
            self.errors.answered()
            self._leases.append(lease)
        name = self.subscription.name
        deliveries = [delivery_of(each.message.data, f"{name} {each.message.message_id}") for each in messages]
        return MessageBatch(deliveries, lease)

    async def commit(self, batch: MessageBatch) -> None:
        lease = cast("_Lease", batch.position)
        held = self._leases.index(lease) + 1 if lease in self._leases else 0
        done, self._leases = self._leases[:held] or [lease], self._leases[held:]
        with self.errors.mapped("commit", "Pub/Sub accepts no commits"):
            for committed in done:
                if committed.ack_ids:
                    name = self.subscription.name
                    await self.client.acknowledge(subscription=name, ack_ids=committed.ack_ids, **ASK)

    async def aclose(self) -> None:
        """Cancel the pull, and return all uncommitted messages to the group, in 3 s or when their leases expire."""
        self._extending.cancel()
        await asyncio.wait({self._extending})
        uncommitted = [lease.ack_ids for lease in self._leases]
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.wait({self._pulling})
            if not self._pulling.cancelled() and not self._pulling.exception():
                uncommitted.append([received.ack_id for received in self._pulling.result()])
        with suppress(*API_ERRORS):
            for ack_ids in uncommitted:
                await self._hold(ack_ids, 0)

    async def _pull(self) -> list[ReceivedMessage]:
        seconds = self.intervals.pull if attached(self.subscription) else self.intervals.detached_pull
        try:
            response = await self.client.pull(
                subscription=self.subscription.name, max_messages=MAX_MESSAGES, retry=None, timeout=seconds
            )
        except DeadlineExceeded:
            return []
        # Redelivered messages may come in one response with newer ones, and after them.
        return sorted(
            response.received_messages, key=lambda each: PubsubMessage.pb(each.message).publish_time.ToNanoseconds()
        )

    async def _check(self) -> None:
        """Raise GoogleAPIError if the subscription or its topic was deleted: an empty pull does not show it."""
        if monotonic() < self._checked + self.intervals.check or not attached(self.subscription):
            return
        self._checked = monotonic()
        try:
            found = await self.client.get_subscription(subscription=self.subscription.name, **ASK)
        except NotFound:
            raise
        except API_ERRORS:  # a lasting error makes the pulls fail too
            return
        check_attached(found)

    async def _hold(self, ack_ids: list[str], seconds: int) -> None:
        """Let the leases of messages end in ``seconds``; 0 returns the messages to the group. Raises GoogleAPIError."""
        if ack_ids:
            await self.client.modify_ack_deadline(
                subscription=self.subscription.name, ack_ids=ack_ids, ack_deadline_seconds=seconds, **ASK
            )

    async def _extend(self) -> None:
        while True:
            await asyncio.sleep(self.intervals.extend)
            oldest = monotonic() - self.intervals.max_lease
            self._leases = [lease for lease in self._leases if lease.since > oldest]
            for lease in self._leases:
                with suppress(StreamUnavailable), self.errors.mapped("extend", "Pub/Sub does not extend leases"):
                    await self._hold(lease.ack_ids, ACK_SECONDS)
