"""Helpers that read a stream as the service's own consumers do."""

from __future__ import annotations

import asyncio

from pycalc.models.events import Event
from pycalc.streaming.base import USAGE_GROUP, Delivery, Stream

_SECONDS = 45.0


async def delivered(stream: Stream, count: int) -> list[Delivery]:
    """Consume and commit at least ``count`` messages in the consumer group of the usage totals, and return them."""
    deliveries: list[Delivery] = []
    async with asyncio.timeout(_SECONDS), stream.consume(USAGE_GROUP) as member:
        while len(deliveries) < count:
            batch = await member.receive()
            deliveries += batch.deliveries
            await member.commit(batch)
    return deliveries


async def consumed(stream: Stream, count: int) -> list[Event]:
    """Consume at least ``count`` messages as ``delivered`` does, and return the valid events among them."""
    return [delivery.event for delivery in await delivered(stream, count) if delivery.event]
