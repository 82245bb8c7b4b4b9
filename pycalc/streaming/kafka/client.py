"""The settings, the error mapping and the thread that Kafka clients share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.broker_errors import BrokerErrors

_T = TypeVar("_T")


class ThreadClosed(RuntimeError):
    """The error of a call to a thread that was closed."""


class DriverThread:
    """A daemon thread that runs blocking calls one after the other.

    Python joins the threads of executors at exit, so a call that hangs would keep the process alive.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._closed = False
        Thread(target=self._serve, name=name, daemon=True).start()

    def run(self, function: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """Queue a call and return the future of its result. Raises ThreadClosed after ``close``."""
        if self._closed:
            raise ThreadClosed("the driver's thread is closed")
        outcome: Future[_T] = Future()
        self._calls.put((outcome, partial(function, *arguments)))
        return asyncio.wrap_future(outcome)

    def close(self) -> None:
        """End the thread after the queued calls."""
        self._closed = True
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            outcome, function = call
            if outcome.set_running_or_notify_cancel():
                try:
                    outcome.set_result(function())
                except BaseException as error:  # any error is re-raised in the caller
                    outcome.set_exception(error)
            del call, outcome, function  # frees the result, which may be large, before waiting for the next call


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
