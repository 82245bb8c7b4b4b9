"""The event stream in Apache Kafka, through librdkafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial

from pycalc.models.events import Event
from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.base import PUBLISH_SECONDS, Member
from pycalc.streaming.kafka import consumer as kafka_consumer
from pycalc.streaming.kafka import producer as kafka_producer
from pycalc.streaming.kafka.client import kafka_errors, settings
from pycalc.streaming.kafka.consumer import KafkaMember
from pycalc.streaming.kafka.options import kafka_options
from pycalc.streaming.kafka.producer import KafkaProducer
from pycalc.streaming.kafka.topic import Topic


class KafkaStream:
    """A topic on a Kafka cluster. The user id is the key of an event, so one partition has all events of a user."""

    def __init__(
        self, url: str, metrics: EventMetrics, credentials: str = "", publish_seconds: float = PUBLISH_SECONDS
    ) -> None:
        """Read the options in the URL; raises the errors of ``kafka_options``."""
        self._options = kafka_options(url, credentials)
        self._publish_seconds = publish_seconds
        self._errors = kafka_errors(metrics)
        self._settings = settings(self._errors) | self._options.client
        self._producer_settings = self._settings | kafka_producer.SETTINGS | self._options.producer
        self._topic = Topic(self._options, self._errors)
        self._producer: KafkaProducer | None = None

    async def publish(self, events: Sequence[Event]) -> None:
        if not events:
            return
        topic = self._options.topic
        with self._errors.mapped("publish", "Kafka does not accept events"):
            async with asyncio.timeout(self._publish_seconds):
                if self._producer is None:
                    await self._topic.ensure()
                if self._producer is None:  # no concurrent call has made a producer
                    self._producer = KafkaProducer(self._producer_settings)
                producer = self._producer
                try:
                    refused, doubtful = await producer.send(topic, events)
                except BaseException:
                    self._discard(producer)
                    raise
                if doubtful:
                    self._discard(producer)
                    one_by_one = KafkaProducer(self._producer_settings | kafka_producer.ONE_BY_ONE)
                    try:
                        outcome = await one_by_one.send(topic, _from_the_first(doubtful, events))
                    finally:
                        one_by_one.discard()
                    refused |= outcome.local | outcome.remote
        reasons = {event_id: error.str() for event_id, error in refused.items()}
        self._errors.published("Kafka refuses events.", reasons)

    @asynccontextmanager
    async def consume(self, group: str) -> AsyncIterator[Member]:
        """Return a context in which this process is a member of the consumer group ``{topic}-{group}-{topic id}``.

        A topic that was created anew has a new group too, so that an offset of the old topic never applies to it.
        """
        await self._topic.ensure()
        identity = await self._topic.identity()
        name = {"group.id": f"{self._options.topic}-{group}-{identity}"}
        wanted = self._settings | kafka_consumer.SETTINGS | self._options.consumer | name
        with self._errors.mapped("receive", "Kafka delivers no messages"):
            member = KafkaMember(wanted, self._options.topic, partial(self._topic.check, identity), self._errors)
        try:
            yield member
        finally:
            await member.aclose()

    async def ping(self) -> None:
        await self._topic.ensure()
        self._errors.check()

    async def aclose(self) -> None:
        if self._producer is not None:
            await self._producer.aclose()
        self._topic.close()

    def _discard(self, producer: KafkaProducer) -> None:
        producer.discard()
        if self._producer is producer:
            self._producer = None


def _from_the_first(doubtful: Collection[bytes], events: Sequence[Event]) -> list[Event]:
    """Return the events to send again: for each key, the first one with an id in ``doubtful``, and all after it."""
    keys: set[bytes] = set()
    rest = []
    for event in events:
        if event.id in doubtful:
            keys.add(event.key)
        if event.key in keys:
            rest.append(event)
    return rest
