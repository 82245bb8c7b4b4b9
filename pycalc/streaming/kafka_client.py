"""What Kafka's clients have in common: their settings, their errors, and the topic itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic, sleep
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from structlog import get_logger

from pycalc.observability.metrics import Metrics
from pycalc.streaming.driver_thread import DriverThread, ThreadClosed
from pycalc.streaming.kafka_options import KafkaOptions
from pycalc.streaming.troubles import Troubles

_ASK_SECONDS = 3.0
_STEP_SECONDS = 0.05
_SETTINGS: dict[str, Any] = {
    "client.id": "pycalc",
    "log_level": 2,  # what librdkafka would tell of each second, Troubles tells once
    "socket.timeout.ms": 5_000,
    "reconnect.backoff.max.ms": 1_000,
    "allow.auto.create.topics": False,
}

_log = get_logger(__name__)


def error_of(exception: Exception) -> KafkaError:
    """Return the error that a KafkaException carries."""
    error: KafkaError = exception.args[0]
    return error


def kafka_troubles(metrics: Metrics) -> Troubles:
    """Return the map of Kafka's errors."""

    def explain(exception: Exception) -> tuple[str, str]:
        if isinstance(exception, BufferError):
            return "queue full", str(exception)
        if isinstance(exception, ThreadClosed):
            return "closed", str(exception)
        return error_of(exception).name(), error_of(exception).str()

    return Troubles((KafkaException, BufferError, ThreadClosed), explain, metrics)


def settings(*layers: Mapping[str, Any], troubles: Troubles) -> dict[str, Any]:
    """Return a client's settings, later layers over earlier ones."""

    def note(error: KafkaError) -> None:
        if error.name() != "_ALL_BROKERS_DOWN":  # what else it tells says why
            troubles.note(error.name(), error.str())

    merged: dict[str, Any] = {**_SETTINGS, "error_cb": note}
    for layer in layers:
        merged |= layer
    return merged


class Topic:
    """The topic on its broker, asked about in a thread of its own."""

    def __init__(self, options: KafkaOptions, troubles: Troubles) -> None:
        self._options = options
        self._troubles = troubles
        self._admin: AdminClient | None = None
        self._thread = DriverThread("kafka-admin")
        self._asking: asyncio.Future[None] | None = None

    async def ensure(self) -> None:
        """Return when the topic is there, which is made where it is missing and may be; raises StreamUnavailable.

        Those who ask at the same time share one question.
        """
        with self._troubles.mapped("topic", "Kafka does not give access to the topic."):
            if self._asking is None or self._asking.done():
                self._asking = self._thread.run(self._ensure)
            await asyncio.shield(self._asking)

    def close(self) -> None:
        """Let go of the connection."""
        self._admin = None
        self._thread.close()

    def _ensure(self) -> None:
        admin = self._admin or AdminClient(settings(self._options.client, troubles=self._troubles))
        self._admin = admin
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
            admin.poll(0)  # lets the driver tell why there is no connection
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
