"""The Kafka producer, with settings for sending events in batches, or one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from threading import Event as Flag
from threading import Thread
from typing import Any, NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pycalc.models.events import Event
from pycalc.models.ids import text_of_id
from pycalc.streaming.base import headers_of
from pycalc.streaming.kafka.client import error_of

SETTINGS: dict[str, Any] = {
    "enable.idempotence": True,  # implies acks=all, and keeps the order of each partition through retries
    "message.timeout.ms": 0,  # no timeout: the driver must not drop one message and send the next
    "compression.type": "lz4",
    "linger.ms": 5,
    "queue.buffering.max.messages": 20_000,
    "queue.buffering.max.kbytes": 64 * 1024,
}
# Errors caused by a message itself, or by another one in its batch.
_BAD_EVENT = {"INVALID_RECORD", "MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"}
# One message per batch: the broker refuses whole batches, so only a batch of one shows which message is at fault. One
# request at a time keeps the order through retries. An idempotent producer would too, but pauses after each refusal.
ONE_BY_ONE: dict[str, Any] = {
    "batch.num.messages": 1,
    "linger.ms": 0,
    "enable.idempotence": False,
    "acks": "all",
    "max.in.flight.requests.per.connection": 1,
}

_POLL_SECONDS = 0.5
_CLOSE_SECONDS = 5.0
_SLICE = 100  # messages to queue before yielding to the event loop


class Outcome(NamedTuple):
    """The errors of events that were not stored, by event id. All other events are stored."""

    local: dict[bytes, KafkaError]  # refused by the driver for their size, and not sent
    remote: dict[bytes, KafkaError]  # refused by the broker with their batch: the fault may be another message's


class KafkaProducer:
    """The driver's producer, and a thread that runs its callbacks."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._producer = Producer(configuration)
        self._discarded = Flag()
        self._thread = Thread(target=self._serve, name="kafka-producer", daemon=True)
        self._thread.start()

    async def send(self, topic: str, events: Sequence[Event]) -> Outcome:
        """Send one or more events, and return when the broker has stored or refused each of them, without a time limit.

        Raises KafkaException for an error that no event has caused, such as a missing permission, and BufferError if
        the driver's queue is full. Discard the producer after an exception, a cancellation or an error of the broker,
        because it could still send later events of its queue.
        """
        outcome, all_reported, loop = Outcome({}, {}), asyncio.Event(), asyncio.get_running_loop()
        reported: list[bytes] = []

        # Both the event loop and the driver's thread call this.
        def report(errors: dict[bytes, KafkaError], event_id: bytes, error: KafkaError | None, *_: Message) -> None:
            if error is not None:
                errors[event_id] = error
            reported.append(event_id)
            if len(reported) == len(events):
                with suppress(RuntimeError):  # the event loop may be closed
                    loop.call_soon_threadsafe(all_reported.set)

        for index, event in enumerate(events):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            key, headers = text_of_id(event.key), cast("Any", headers_of(event, "ce_"))
            delivered = partial(report, outcome.remote, event.id)
            try:
                self._producer.produce(topic, event.payload, key, headers=headers, on_delivery=delivered)
            except KafkaException as error:
                if error_of(error).name() not in _BAD_EVENT:
                    raise
                report(outcome.local, event.id, error_of(error))
        await all_reported.wait()
        for failure in outcome.remote.values():
            if failure.name() not in _BAD_EVENT:
                raise KafkaException(failure)
        return outcome

    def discard(self) -> None:
        """Let the thread drop all queued and unconfirmed messages, and end within about 0.5 s."""
        self._discarded.set()

    async def aclose(self) -> None:
        """Discard the producer, and wait up to 5 s for its thread."""
        self.discard()
        await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)

    def _serve(self) -> None:
        while not self._discarded.is_set():
            self._producer.poll(_POLL_SECONDS)
        self._producer.purge()
        self._producer.close()
