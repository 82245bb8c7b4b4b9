"""Publishing to Pub/Sub: one request at a time for each ordering key, for many keys concurrently."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

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
from pycalc.streaming.base import headers_of

_AT_ONCE = 32  # concurrent requests; each has only messages of one ordering key, which is a user's id
_MAX_MESSAGES = 1_000
_MAX_BYTES = 9_500_000  # the most bytes of the messages in a request; Pub/Sub allows 10 MB for the whole request
_OVERHEAD = 1_024  # an upper bound for the size of a message without its body
_TRANSIENT = if_exception_type(Aborted, InternalServerError, ResourceExhausted, ServiceUnavailable, Unknown)


class Publishing:
    """The publishing of one batch of events. ``refused`` maps the ids of refused events to the reasons.

    For each key, a request begins only after the reply to the previous one, so the events of the key stay in order.
    Transient errors are retried for 80 % of ``seconds``, so that the last error arrives before the time limit.
    """

    def __init__(self, publisher: PublisherAsyncClient, topic: str, seconds: float) -> None:
        self.refused: dict[bytes, str] = {}
        self._publisher = publisher
        self._topic = topic
        self._seconds = seconds
        self._retry = AsyncRetry(_TRANSIENT, initial=0.05, maximum=0.5, timeout=0.8 * seconds)

    async def send(self, events: Sequence[Event]) -> None:
        """Publish events, and return when each is stored or refused. Raises GoogleAPIError or GoogleAuthError."""
        by_key: dict[bytes, list[Event]] = {}
        for event in events:
            by_key.setdefault(event.key, []).append(event)
        keys, tasks = iter(by_key.values()), list[asyncio.Task[None]]()

        async def send_keys() -> None:
            for of_one_key in keys:  # the tasks share the iterator
                for part in self._parts(of_one_key):
                    await self._request(part)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(by_key))):
                    tasks.append(group.create_task(send_keys()))
                    await asyncio.sleep(0)  # a request takes 0.25 ms to make: yield to the event loop between them
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if any(task.cancelled() for task in tasks):  # gRPC cancels calls when their channel is closed
            raise GoogleAPIError("a request was cancelled")

    def _parts(self, events: Sequence[Event]) -> Iterator[list[Event]]:
        """Yield the events of each request. Refuse events that are too large."""
        part: list[Event] = []
        size = 0
        for event in events:
            length = len(event.payload) + _OVERHEAD
            if length > _MAX_BYTES:
                self.refused[event.id] = f"{length} bytes exceed the size limit of a message"
                continue
            if part and (size + length > _MAX_BYTES or len(part) == _MAX_MESSAGES):
                yield part
                part, size = [], 0
            part.append(event)
            size += length
        if part:
            yield part

    async def _request(self, part: Sequence[Event]) -> None:
        """Publish events of one key. If the request is invalid, publish each event alone to find the invalid ones."""
        request = PublishRequest(topic=self._topic)
        messages = PublishRequest.pb(request).messages  # raw protobuf: proto-plus takes as long as the call
        for event in part:
            messages.add(data=event.payload, ordering_key=text_of_id(event.key), attributes=headers_of(event, "ce-"))
        try:
            await self._publisher.publish(request=request, retry=self._retry, timeout=self._seconds)
        except InvalidArgument as error:
            if len(part) == 1:
                self.refused[part[0].id] = error.message
                return
            for event in part:
                await self._request([event])
