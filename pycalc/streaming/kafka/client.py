"""The settings and the error mapping that all Kafka clients share."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException

from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.broker_errors import BrokerErrors
from pycalc.streaming.kafka.driver_thread import ThreadClosed


def error_of(exception: Exception) -> KafkaError:
    """Return the error in a KafkaException."""
    error: KafkaError = exception.args[0]
    return error


def kafka_errors(metrics: EventMetrics) -> BrokerErrors:
    """Return the mapping of the Kafka driver's exceptions to StreamUnavailable."""

    def explain(exception: Exception) -> tuple[str, str]:
        if isinstance(exception, KafkaException):
            return error_of(exception).name(), error_of(exception).str()
        return type(exception).__name__, str(exception)

    return BrokerErrors((KafkaException, BufferError, ThreadClosed), explain, metrics)


def settings(errors: BrokerErrors) -> dict[str, Any]:
    """Return the settings that all clients have. Errors that the driver reports are noted in ``errors``."""

    def note(error: KafkaError) -> None:
        if error.name() != "_ALL_BROKERS_DOWN":  # another error gives the reason
            errors.note(error.name(), error.str())

    return {
        "client.id": "pycalc",
        "log_level": 2,  # librdkafka repeats a warning each second; BrokerErrors logs it once
        "socket.timeout.ms": 5_000,
        "reconnect.backoff.max.ms": 1_000,
        "allow.auto.create.topics": False,
        "error_cb": note,
    }
