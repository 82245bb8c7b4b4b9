"""The event stream in Apache Kafka, through librdkafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from pycalc.errors import EventsRefused
from pycalc.models.events import Event
from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.base import PUBLISH_SECONDS, Member
from pycalc.streaming.kafka import consumer as kafka_consumer
from pycalc.streaming.kafka import producer as kafka_producer
from pycalc.streaming.kafka.client import kafka_errors, settings
from pycalc.streaming.kafka.consumer import KafkaMember
from pycalc.streaming.kafka.options import KafkaOptions, kafka_options
from pycalc.streaming.kafka.producer import KafkaProducer, Outcome
from pycalc.streaming.kafka.topic import Topic


class KafkaStream:
    """A topic on a Kafka cluster; events are keyed by user id, which keeps a user's events in one partition."""

    def __init__(self, options: KafkaOptions, metrics: EventMetrics, publish_seconds: float = PUBLISH_SECONDS) -> None:
        self._options = options
        self._metrics = metrics
        self._publish_seconds = publish_seconds
        self._errors = kafka_errors(metrics)
        self._topic = Topic(options, self._errors)
        self._producer: KafkaProducer | None = None
        self._discarded: set[KafkaProducer] = set()

    @classmethod
    def of_url(cls, url: str, metrics: EventMetrics, credentials: str) -> KafkaStream:
        """Return the stream that a URL names; raises ValueError."""
        return cls(kafka_options(url, credentials), metrics)

    async def publish(self, events: Sequence[Event]) -> None:
        if not events:
            return
        with self._errors.mapped("publish", "Kafka does not take events."):
            async with asyncio.timeout(self._publish_seconds):
                refused, doubtful = await self._send(events)
                if doubtful:
                    refused |= await self._send_one_by_one(_from_the_first(doubtful, events))
        self._errors.taken()
        if refused:
            self._metrics.events_refused.inc(len(refused))
            raise EventsRefused("Kafka refuses events.", {event_id: error.str() for event_id, error in refused.items()})

    @asynccontextmanager
    async def consume(self, group: str) -> AsyncIterator[Member]:
        """Join the consumer group ``{topic}-{group}-{topic id}``.

        A topic that was deleted and created again has a new id, hence a new group, which starts at the oldest message.
        So an offset of the old topic, even one committed late, never applies to the new topic.
        """
        await self._topic.ensure()
        async with self._topic.generation() as topic:
            name = {"group.id": f"{self._options.topic}-{group}-{topic.identity}"}
            wanted = self._settings(kafka_consumer.SETTINGS, self._options.consumer, name)
            with self._errors.mapped("receive", "Kafka gives no messages."):
                member = KafkaMember(wanted, self._options.topic, topic.check, self._errors)
            try:
                yield member
            finally:
                await member.aclose()

    async def ping(self) -> None:
        """Check that the topic exists and the last publish succeeded; raises StreamUnavailable if not."""
        await self._topic.ensure()
        self._errors.check()

    async def aclose(self) -> None:
        if self._producer is not None:
            self._discard(self._producer)
        await asyncio.gather(*(producer.aclose() for producer in self._discarded))
        self._topic.close()

    async def _send(self, events: Sequence[Event]) -> Outcome:
        """Return the refused and the possibly refused events; raises KafkaException for errors of the broker."""
        if self._producer is None:
            await self._topic.ensure()
        if self._producer is None:
            self._producer = KafkaProducer(self._settings(kafka_producer.SETTINGS, self._options.producer))
        return await self._send_through(self._producer, events)

    async def _send_one_by_one(self, events: Sequence[Event]) -> dict[bytes, KafkaError]:
        """Return the errors of the refused events, by event id."""
        layers = kafka_producer.SETTINGS, self._options.producer, kafka_producer.ONE_BY_ONE
        producer = KafkaProducer(self._settings(*layers))
        try:
            outcome = await self._send_through(producer, events)
        finally:
            self._discard(producer)
        return outcome.local | outcome.remote

    async def _send_through(self, producer: KafkaProducer, events: Sequence[Event]) -> Outcome:
        try:
            outcome = await producer.send(self._options.topic, events)
        except BaseException:
            self._discard(producer)
            raise
        if outcome.remote:
            self._discard(producer)
        for error in outcome.remote.values():
            if error.name() not in kafka_producer.BAD_EVENT:
                raise KafkaException(error)
        return outcome

    def _discard(self, producer: KafkaProducer) -> None:
        producer.discard()
        self._discarded = {ending for ending in self._discarded if ending.is_alive()} | {producer}
        if self._producer is producer:
            self._producer = None

    def _settings(self, *layers: Mapping[str, Any]) -> dict[str, Any]:
        return settings(self._options.client, *layers, errors=self._errors)


def _from_the_first(doubtful: Collection[bytes], events: Sequence[Event]) -> list[Event]:
    """Return each key's events from its first doubtful one on."""
    keys: set[bytes] = set()
    rest = []
    for event in events:
        if event.id in doubtful:
            keys.add(event.key)
        if event.key in keys:
            rest.append(event)
    return rest
