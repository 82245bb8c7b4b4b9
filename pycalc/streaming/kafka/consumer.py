"""Consuming from Kafka: a group member, whose blocking driver runs in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from structlog import get_logger

from pycalc.streaming.base import MAX_BYTES, MAX_MESSAGES, RECEIVE_SECONDS, MessageBatch, delivery_of
from pycalc.streaming.broker_errors import BrokerErrors
from pycalc.streaming.kafka.client import DriverThread, error_of

SETTINGS: dict[str, Any] = {
    "enable.auto.commit": False,
    "queued.max.messages.kbytes": 2 * MAX_BYTES // 1024,
    "fetch.queue.backoff.ms": 50,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
    "topic.metadata.refresh.interval.ms": 30_000,
}

# Errors of a commit after the partitions went to another member.
_REBALANCED = {
    "FENCED_INSTANCE_ID",
    "ILLEGAL_GENERATION",
    "REBALANCE_IN_PROGRESS",
    "UNKNOWN_MEMBER_ID",
    "_ASSIGNMENT_LOST",
    "_MAX_POLL_EXCEEDED",
    "_NO_OFFSET",
    "_STATE",
}
_CHECK_SECONDS = 3.0
_COMMIT_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_STEP_SECONDS = 0.1

_log = get_logger(__name__)


class KafkaMember:
    """A member of a Kafka consumer group."""

    def __init__(
        self, configuration: dict[str, Any], topic: str, check: Callable[[], Awaitable[None]], errors: BrokerErrors
    ) -> None:
        """Join the group. ``check``, called each 3 s, must raise KafkaException after the topic was recreated."""
        self._consumer = Consumer(configuration)
        self._consumer.subscribe([topic])  # first, so that an error leaves no thread behind
        self._thread = DriverThread("kafka-consumer")
        self._check = check
        self._check_due = monotonic() + _CHECK_SECONDS
        self._errors = errors
        self._polling: asyncio.Future[list[Message]] | None = None
        self._failure: KafkaException | None = None
        self._closing = False

    async def receive(self) -> MessageBatch:
        with self._errors.mapped("receive", "Kafka delivers no messages"):
            if monotonic() >= self._check_due:
                await self._check()
                self._check_due = monotonic() + _CHECK_SECONDS  # read again: a broker may take long to answer
            # The poll of a cancelled call goes on; the next call returns its messages.
            if self._polling is None:
                self._polling = self._thread.run(self._poll)
            await asyncio.wait({self._polling})
            polled, self._polling = self._polling, None
            messages = polled.result()
        if messages:
            self._errors.answered()
        deliveries, ends = [], {}
        for message in messages:
            topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
            deliveries.append(delivery_of(message.value() or b"", f"{topic}[{partition}]@{offset}"))
            ends[partition] = TopicPartition(topic, partition, offset + 1)
        return MessageBatch(deliveries, list(ends.values()))

    async def commit(self, batch: MessageBatch) -> None:
        with self._errors.mapped("commit", "Kafka accepts no commits"):
            committing = self._thread.run(self._commit, cast("list[TopicPartition]", batch.position))
            async with asyncio.timeout(_COMMIT_SECONDS):
                await asyncio.shield(committing)

    async def aclose(self) -> None:
        """Leave the group and end the thread. Wait for this at most 2 s."""
        self._closing = True
        closing = self._thread.run(self._consumer.close)
        self._thread.close()
        await asyncio.wait({closing}, timeout=_CLOSE_SECONDS)

    def _poll(self) -> list[Message]:
        messages: list[Message] = []
        size = 0
        deadline = monotonic() + RECEIVE_SECONDS
        while self._failure is None and len(messages) < MAX_MESSAGES and size < MAX_BYTES:
            message = self._consumer.poll(0 if messages else _STEP_SECONDS)
            if message is None:
                if messages or self._closing or monotonic() >= deadline:
                    break
            elif (error := message.error()) is not None:
                self._failure = KafkaException(error)
            else:
                messages.append(message)
                size += len(message)
        if self._failure and not messages:  # if messages precede the error, only the next call raises it
            failure, self._failure = self._failure, None
            raise failure
        return messages

    def _commit(self, ends: Sequence[TopicPartition]) -> None:
        held = {owned.partition for owned in self._consumer.assignment()}
        ends = [end for end in ends if end.partition in held]
        try:
            committed = self._consumer.commit(offsets=ends, asynchronous=False) if ends else []
            for failed in (end.error for end in committed if end.error is not None):
                raise KafkaException(failed)
        except KafkaException as exception:
            error = error_of(exception)
            if error.name() not in _REBALANCED:
                raise
            _log.info("the group was rebalanced; the messages are delivered again", error=error.name())
