"""Pub/Sub's publishing side: one request after the other for each user, many users at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from google.api_core.exceptions import (
    Aborted,
    GoogleAPIError,
    InternalServerError,
    InvalidArgument,
    ResourceExhausted,
    ServiceUnavailable,
    Unknown,
)
from google.api_core.retry import AsyncRetry, if_exception_type
from google.pubsub_v1 import PublisherAsyncClient, PublishRequest

from pycalc.models.events import Event
from pycalc.models.ids import text_of_id
from pycalc.streaming.envelope import headers_of

_AT_ONCE = 32
"""Requests under way: all messages of a request must have the same ordering key."""
_MAX_MESSAGES = 1_000
_MAX_BYTES = 9_500_000
"""Of the messages in a request: the service allows 10 MB for the whole of it."""
_TRY_AGAIN = 0.8
"""Of the time for a batch, in which a request is made again: what is left lets the last error be told."""
_OVERHEAD = 1_024
"""More than what a message has beside its body."""
_PASSING = if_exception_type(Aborted, InternalServerError, ResourceExhausted, ServiceUnavailable, Unknown)


class _Message(NamedTuple):
    """An event as Pub/Sub takes it."""

    event_id: bytes
    data: bytes
    ordering_key: str
    attributes: dict[str, str]


class Publishing:
    """One batch on its way.

    A key's next request begins when the one before is answered, so nothing can overtake, and a failure leaves no key
    that would have to be resumed.
    """

    def __init__(self, publisher: PublisherAsyncClient, topic: str, seconds: float) -> None:
        self.refused: dict[bytes, str] = {}
        self._publisher = publisher
        self._topic = topic
        self._seconds = seconds
        self._retry = AsyncRetry(_PASSING, initial=0.05, maximum=0.5, timeout=_TRY_AGAIN * seconds)

    async def send(self, events: Sequence[Event]) -> None:
        """Return when every event is taken or refused; raises GoogleAPIError when nothing is under way any more."""
        by_key: dict[bytes, list[Event]] = {}
        for event in events:
            by_key.setdefault(event.key, []).append(event)
        keys, tasks = iter(by_key.values()), list[asyncio.Task[None]]()
        try:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(min(_AT_ONCE, len(by_key))):
                    tasks.append(lanes.create_task(self._lane(keys)))
                    await asyncio.sleep(0)  # a request costs a quarter of a millisecond: not all of them in one go
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        if any(task.cancelled() for task in tasks):  # as gRPC's calls are when their channel is closed
            raise GoogleAPIError("a request was given up")

    async def _lane(self, keys: Iterator[Sequence[Event]]) -> None:
        for events in keys:
            for part in self._parts(events):
                await self._request(part)

    def _parts(self, events: Sequence[Event]) -> Iterator[list[_Message]]:
        """Yield requests' worth of messages; refuse what is too large for any."""
        part: list[_Message] = []
        size = 0
        for event in events:
            message = _Message(event.id, event.payload, text_of_id(event.key), headers_of(event, "ce-"))
            length = len(message.data) + _OVERHEAD
            if length > _MAX_BYTES:
                self.refused[event.id] = f"{length} bytes are more than a message may have"
                continue
            if part and (size + length > _MAX_BYTES or len(part) == _MAX_MESSAGES):
                yield part
                part, size = [], 0
            part.append(message)
            size += length
        if part:
            yield part

    async def _request(self, part: Sequence[_Message]) -> None:
        """Publish messages of one key; one that the service refuses for its own sake does not keep the others back."""
        request = PublishRequest(topic=self._topic)
        messages = PublishRequest.pb(request).messages  # the bare form: the other one costs as much as the call
        for message in part:
            messages.add(data=message.data, ordering_key=message.ordering_key, attributes=message.attributes)
        try:
            await self._publisher.publish(request=request, retry=self._retry, timeout=self._seconds)
        except InvalidArgument as error:
            if len(part) == 1:
                self.refused[part[0].event_id] = error.message
                return
            for message in part:
                await self._request([message])
