"""Kafka's topic: whether it is there, made where it is missing, and whether it is still the same one (ADR 14)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic, sleep

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from structlog import get_logger

from pycalc.streaming.broker_errors import BrokerErrors
from pycalc.streaming.kafka.client import error_of, settings
from pycalc.streaming.kafka.driver_thread import DriverThread, ThreadClosed
from pycalc.streaming.kafka.options import KafkaOptions

_ASK_SECONDS = 3.0
_STEP_SECONDS = 0.05
_LOOK_SECONDS = 3.0
"""How often who reads a topic looks whether another one has its name by now."""
_NO_IDENTITY = "A" * 22
"""Zeros in base64, as Kafka writes ids."""
_URL_SAFE = str.maketrans("+/", "-_")
"""What Kafka's own tools write where the driver has the older alphabet (RFC 4648 §5 and §4)."""

_log = get_logger(__name__)


class TopicGeneration:
    """A topic's life, from its making to its deletion: another topic may have its name then, but not its id."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.over = False

    def check(self) -> None:
        """Raise KafkaException where it has been seen that the topic is another one."""
        if self.over:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_ID, "the topic was made anew"))


class Topic:
    """The topic on its broker, asked about in a thread of its own."""

    def __init__(self, options: KafkaOptions, errors: BrokerErrors) -> None:
        self._options = options
        self._errors = errors
        self._admin: AdminClient | None = None
        self._thread = DriverThread("kafka-admin")
        self._asking: asyncio.Future[None] | None = None

    async def ensure(self) -> None:
        """Return when the topic is there, which is made where it is missing and may be; raises StreamUnavailable.

        Those who ask at the same time share one question.
        """
        with self._errors.mapped("topic", "Kafka does not give access to the topic."):
            if self._asking is None or self._asking.done():
                self._asking = self._thread.run(self._ensure)
            await asyncio.shield(self._asking)

    @asynccontextmanager
    async def generation(self) -> AsyncIterator[TopicGeneration]:
        """Give what the topic is now, looked at now and then; raises StreamUnavailable.

        A look that fails ends nothing: what is wrong with the broker, those tell who use it.
        """
        with self._errors.mapped("topic", "Kafka does not tell of the topic."):
            current = TopicGeneration(await self._thread.run(self._identity))
        watching = asyncio.create_task(self._watch(current), name="Kafka topic")
        try:
            yield current
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    def close(self) -> None:
        """Let go of the connection."""
        self._admin = None
        self._thread.close()

    async def _watch(self, current: TopicGeneration) -> None:
        while not current.over:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(KafkaException, ThreadClosed):
                current.over = await self._thread.run(self._identity) != current.identity

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(settings(self._options.client, errors=self._errors))
        return self._admin

    def _identity(self) -> str:
        """Return the topic's id (KIP-516); all zeros where the cluster gives topics none, or nobody to ask."""
        admin, name = self._client(), self._options.topic
        try:
            cluster = admin.list_topics(name, timeout=_ASK_SECONDS)
            if cluster.controller_id >= 0 and cluster.controller_id not in cluster.brokers:  # librdkafka's own mock
                return _NO_IDENTITY
            asked = admin.describe_topics(TopicCollection([name]), request_timeout=_ASK_SECONDS)
            identity = str(asked[name].result().topic_id)
        finally:
            admin.poll(0)  # lets the driver tell why there is no connection
        return identity.translate(_URL_SAFE)

    def _ensure(self) -> None:
        admin = self._client()
        error = self._fault(admin)
        if error is None or error.name() == "LEADER_NOT_AVAILABLE":
            return
        if error.name() != "UNKNOWN_TOPIC_OR_PART" or not self._options.create:
            raise KafkaException(error)
        self._make(admin)
        deadline = monotonic() + _ASK_SECONDS
        while self._fault(admin) is not None and monotonic() < deadline:
            sleep(_STEP_SECONDS)

    def _fault(self, admin: AdminClient) -> KafkaError | None:
        """Return what is wrong with the topic, as the broker sees it."""
        try:
            topic = admin.list_topics(self._options.topic, timeout=_ASK_SECONDS).topics[self._options.topic]
        finally:
            admin.poll(0)
        errors = (topic.error, *(partition.error for partition in topic.partitions.values()))
        return next((error for error in errors if error is not None), None)

    def _make(self, admin: AdminClient) -> None:
        options = self._options
        wanted = NewTopic(options.topic, options.partitions, options.replication)
        made = admin.create_topics([wanted], operation_timeout=_ASK_SECONDS, request_timeout=_ASK_SECONDS)
        try:
            made[options.topic].result(_ASK_SECONDS)
        except KafkaException as error:
            if error_of(error).name() != "TOPIC_ALREADY_EXISTS":  # another instance was quicker
                raise
        else:
            _log.warning("the topic was missing and has been made", topic=options.topic, partitions=options.partitions)
