"""Helpers that read a stream as the service's own consumers do."""

from __future__ import annotations

import asyncio

from pycalc.models.events import Event
from pycalc.streaming.base import USAGE_GROUP, Delivery, Stream

_SECONDS = 45.0


async def delivered(stream: Stream, count: int) -> list[Delivery]:
    """Receive and commit batches of the usage group until they have ``count`` messages; return all messages."""
    deliveries: list[Delivery] = []
    async with asyncio.timeout(_SECONDS), stream.consume(USAGE_GROUP) as member:
        while len(deliveries) < count:
            batch = await member.receive()
            deliveries += batch.deliveries
            await member.commit(batch)
    return deliveries


async def consumed(stream: Stream, count: int) -> list[Event]:
    """Return the events in the messages that ``delivered`` returns; messages that are no valid events are left out."""
    return [delivery.event for delivery in await delivered(stream, count) if delivery.event]
