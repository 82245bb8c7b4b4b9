"""The Kafka topic: created if it is missing, and checked for being deleted and created again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic, sleep

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from structlog import get_logger

from pycalc.streaming.broker_errors import BrokerErrors
from pycalc.streaming.kafka.client import DriverThread, ThreadClosed, error_of, settings
from pycalc.streaming.kafka.options import KafkaOptions

_STEP_SECONDS = 0.05

_log = get_logger(__name__)


class Topic:
    """A Kafka topic, accessed through Kafka's blocking admin client in a thread of its own."""

    def __init__(self, options: KafkaOptions, errors: BrokerErrors, call_seconds: float = 3.0) -> None:
        """Limit each request to ``call_seconds``."""
        self._options = options
        self._call_seconds = call_seconds
        self._errors = errors
        self._admin: AdminClient | None = None
        self._thread = DriverThread("kafka-admin")
        self._ensuring: asyncio.Future[None] | None = None

    async def ensure(self) -> None:
        """Check that the topic exists, or create it if the options allow this. Concurrent calls share one request.

        Raises StreamUnavailable if Kafka does not answer, or if the topic is missing or can't be used.
        """
        with self._errors.mapped("topic", "Kafka does not give access to the topic"):
            if self._ensuring is None or self._ensuring.done():
                self._ensuring = self._thread.run(self._ensure)
            await asyncio.shield(self._ensuring)

    async def identity(self) -> str:
        """Return the topic's id. A topic that is deleted and created again gets another, if the cluster has topic ids.

        Raises StreamUnavailable if Kafka does not describe the topic.
        """
        with self._errors.mapped("topic", "Kafka does not describe the topic"):
            return await self._thread.run(self._identity)

    async def check(self, identity: str) -> None:
        """Raise KafkaException if the topic now has another id than ``identity``, but not if Kafka does not answer."""
        found = identity
        with suppress(KafkaException, ThreadClosed):
            found = await self._thread.run(self._identity)
        if found != identity:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_ID, "the topic was deleted and created again"))

    def close(self) -> None:
        """Close the connection. The thread ends in the background, after its queued calls."""
        self._admin = None
        self._thread.close()

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(settings(self._errors) | self._options.client)
        return self._admin

    def _identity(self) -> str:
        """Return the topic's id (KIP-516), or the zero id if the cluster has no topic ids; raises KafkaException."""
        admin, name = self._client(), self._options.topic
        try:
            cluster = admin.list_topics(name, timeout=self._call_seconds)
            if cluster.controller_id >= 0 and cluster.controller_id not in cluster.brokers:  # librdkafka's mock cluster
                return "A" * 22  # zeros in base64, the encoding of topic ids
            described = admin.describe_topics(TopicCollection([name]), request_timeout=self._call_seconds)
            identity = str(described[name].result().topic_id)
        finally:
            admin.poll(0)  # runs the error callback, which gets the reason for a failed connection
        # Kafka's own tools use the URL-safe alphabet (RFC 4648 §5), the driver the standard one (§4).
        return identity.translate(str.maketrans("+/", "-_"))

    def _ensure(self) -> None:
        admin, options = self._client(), self._options
        error = self._fault(admin)
        if error is None or error.name() == "LEADER_NOT_AVAILABLE":
            return
        if error.name() != "UNKNOWN_TOPIC_OR_PART" or not options.create:
            raise KafkaException(error)
        wanted = NewTopic(options.topic, options.partitions, options.replication)
        seconds = self._call_seconds
        made = admin.create_topics([wanted], operation_timeout=seconds, request_timeout=seconds)
        try:
            made[options.topic].result(seconds)
            _log.warning(
                "the topic was missing and has been created", topic=options.topic, partitions=options.partitions
            )
        except KafkaException as failure:
            if error_of(failure).name() != "TOPIC_ALREADY_EXISTS":  # another instance created it first
                raise
        deadline = monotonic() + seconds  # until then the broker may not know the new topic
        while self._fault(admin) is not None and monotonic() < deadline:
            sleep(_STEP_SECONDS)

    def _fault(self, admin: AdminClient) -> KafkaError | None:
        """Return the topic's or a partition's first error, or None; raises KafkaException if Kafka does not answer."""
        try:
            topic = admin.list_topics(self._options.topic, timeout=self._call_seconds).topics[self._options.topic]
        finally:
            admin.poll(0)
        errors = (topic.error, *(partition.error for partition in topic.partitions.values()))
        return next((error for error in errors if error is not None), None)
