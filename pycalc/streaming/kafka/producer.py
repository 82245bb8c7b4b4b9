"""Kafka's producing side: one producer until its first failure, idempotent but for what is sent one by one (ADR 14)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from threading import Event as Flag
from threading import Thread
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pycalc.models.events import Event
from pycalc.models.ids import text_of_id
from pycalc.streaming.envelope import headers_of
from pycalc.streaming.kafka.client import error_of

SETTINGS: dict[str, Any] = {
    "enable.idempotence": True,  # brings acks=all, and the order of each partition through all retries
    "message.timeout.ms": 0,  # the driver alone must not give up a message and go on with the next
    "compression.type": "lz4",
    "linger.ms": 5,
    "queue.buffering.max.messages": 20_000,
    "queue.buffering.max.kbytes": 64 * 1024,
}
BAD_EVENT = {"INVALID_RECORD", "MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"}
"""Errors that a message gets for its own sake, or for the sake of its batch."""
ONE_BY_ONE: dict[str, Any] = {
    "batch.num.messages": 1,
    "linger.ms": 0,
    "enable.idempotence": False,
    "acks": "all",
    "max.in.flight.requests.per.connection": 1,
}
"""Each message in a batch of its own: the broker refuses whole batches, so only then it is known which it means.

One after the other keeps the order through retries. An idempotent producer would do so too, but needs a tenth of a
second for each message that is refused, after which it begins a new sequence.
"""

_POLL_SECONDS = 0.5
_CLOSE_SECONDS = 5.0
_SLICE = 100
"""Messages that are queued before the event loop may do something else."""


class Outcome(NamedTuple):
    """The errors of a batch, by event id; all others are taken."""

    local: dict[bytes, KafkaError]
    """From the driver, which knows the limit of a message and has not sent these."""
    remote: dict[bytes, KafkaError]
    """From the broker, which refuses or takes whole batches of messages."""


class _Reports:
    """What became of the messages of one batch; told by the driver's thread."""

    def __init__(self, count: int) -> None:
        self.outcome = Outcome({}, {})
        self.all = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._reported: list[bytes] = []

    def delivered(self, event_id: bytes, error: KafkaError | None, _message: Message) -> None:
        """Note what the broker says of one message."""
        if error is not None:
            self.outcome.remote[event_id] = error
        self._count_in(event_id)

    def not_sent(self, event_id: bytes, error: KafkaError) -> None:
        """Note a message that the driver does not accept."""
        self.outcome.local[event_id] = error
        self._count_in(event_id)

    def _count_in(self, event_id: bytes) -> None:
        self._reported.append(event_id)
        if len(self._reported) == self._count:
            with suppress(RuntimeError):  # the loop may be gone
                self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.all.done():
            self.all.set_result(None)


class KafkaProducer:
    """A producer and the thread that serves its reports."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._producer = Producer(configuration)
        self._discarded = Flag()
        self._thread = Thread(target=self._serve, name="kafka-producer", daemon=True)
        self._thread.start()

    async def send(self, topic: str, events: Sequence[Event]) -> Outcome:
        """Return when the broker has taken or refused every event.

        It waits as long as it takes. A call that is given up or fails, or that the broker has answered with errors,
        leaves a producer that may not be used again: what it still holds could overtake. Raises KafkaException, and
        BufferError when the driver's queue is full.
        """
        reports = _Reports(len(events))
        for index, event in enumerate(events):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            report = partial(reports.delivered, event.id)
            headers: Any = headers_of(event, "ce_")
            try:
                self._producer.produce(topic, event.payload, text_of_id(event.key), headers=headers, on_delivery=report)
            except KafkaException as error:
                if error_of(error).name() not in BAD_EVENT:
                    raise
                reports.not_sent(event.id, error_of(error))
        await reports.all
        return reports.outcome

    def discard(self) -> None:
        """Drop what is queued or under way, and end."""
        self._discarded.set()

    def is_alive(self) -> bool:
        """Return whether it has not ended yet."""
        return self._thread.is_alive()

    async def aclose(self) -> None:
        """Discard the producer, and wait for its end, not forever."""
        self.discard()
        await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)

    def _serve(self) -> None:
        while not self._discarded.is_set():
            self._producer.poll(_POLL_SECONDS)
        self._producer.purge()
        self._producer.close()
