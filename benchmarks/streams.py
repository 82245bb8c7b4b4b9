"""A benchmark of each event stream: one process publishes events in batches and consumes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, process_time

from benchmarks.support.events import outbox_to_totals
from pycalc.models.events import Event
from pycalc.observability.metrics import Metrics
from pycalc.streaming import open_stream
from pycalc.streaming.base import USAGE_GROUP, Member, Stream
from tests.harness.events import key_of, numbered
from tests.harness.kafka import kafka
from tests.harness.pubsub import pubsub

EVENTS = 20_000
BATCH = 500
# Bytes that make an event as long as the event of a small calculation.
PADDING = 400
USERS = (10, 1_000)


@contextmanager
def _streams() -> Iterator[dict[str, Callable[[str], str]]]:
    with kafka() as broker, pubsub() as emulator:
        os.environ["PUBSUB_EMULATOR_HOST"] = emulator.emulator_host
        yield {
            "memory": lambda _: "memory://",
            "Kafka": broker.url,
            "Pub/Sub (the emulator)": emulator.url,
        }


def _events(users: int, count: int) -> list[Event]:
    events = [numbered(key_of(f"user {n}"), range(count // users), PADDING) for n in range(users)]
    return [event for turn in zip(*events, strict=True) for event in turn]


async def _publish(stream: Stream, events: list[Event]) -> None:
    for start in range(0, len(events), BATCH):
        await stream.publish(events[start : start + BATCH])


async def _consume(member: Member, count: int) -> None:
    while count > 0:
        batch = await member.receive()
        count -= len(batch.deliveries)
        await member.commit(batch)


async def _measure(url: str, users: int) -> tuple[float, float]:
    """Publish and consume events; return the events per second, and the processor time per event in microseconds."""
    stream = await open_stream(url, Metrics())
    async with stream.consume(USAGE_GROUP) as member:
        for count in (users, EVENTS):  # the first events warm up both sides
            events = _events(users, count)
            started, used = perf_counter(), process_time()
            await asyncio.gather(_publish(stream, events), _consume(member, count))
            seconds, used = perf_counter() - started, process_time() - used
    await stream.aclose()
    return EVENTS / seconds, used / EVENTS * 1e6


def streams() -> None:
    """Print the rates of each event stream. The printed processor time does not include the broker's own."""
    print(f"\n## {EVENTS:,} events through each stream, published and consumed by one process\n")
    print("| stream | users | events/s | CPU us each |")
    print("|---|---|---|---|")
    with _streams() as urls:
        for name, url in urls.items():
            for users in USERS:
                rate, cpu = asyncio.run(_measure(url("bench"), users))
                print(f"| {name} | {users:,} | {rate:,.0f} | {cpu:.0f} |", flush=True)
        outbox_to_totals(urls)
