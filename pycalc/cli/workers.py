"""``pycalc relay`` and ``pycalc consume``: event publishing and usage totals in processes of their own (ADR 17)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import uvloop

from pycalc.cli.configuration import configure
from pycalc.db.base import Database
from pycalc.errors import StoreUnavailable, StreamUnavailable
from pycalc.resources.resource_stack import ResourceStack
from pycalc.server.metrics_port import metrics_served
from pycalc.server.signals import watch
from pycalc.settings import Settings
from pycalc.streaming.base import Stream
from pycalc.urls import authority


def relay() -> None:
    """Publish recorded events until SIGTERM or SIGINT, then for at most 1.5 s more, and release the lease."""
    uvloop.run(_run("relay", configure(), ResourceStack.relay))


def consume() -> None:
    """Add events to the usage totals until SIGTERM or SIGINT. Then leave the consumer group.

    Before that, finish the current batch in up to 2 s, or cancel it; the stream then delivers it again later.
    """
    uvloop.run(_run("consume", configure(), ResourceStack.consumer))


async def _run(command: str, settings: Settings, start: Callable[[ResourceStack, Database, Stream], object]) -> None:
    """Start the relay or the consumer, and wait for a signal."""
    stop = asyncio.Event()
    watch(stop)
    if settings.database.startswith("sqlite:"):
        raise StoreUnavailable(
            "PYCALC_DATABASE_URL names an SQLite file, which only one process may use: `pycalc serve` runs the relay "
            "and the consumer itself. Separate processes need PostgreSQL."
        )
    if settings.stream_url.startswith("memory:"):
        raise StreamUnavailable(
            "PYCALC_STREAM_URL is memory://, a stream within one process: `pycalc serve` runs the relay and the "
            "consumer itself. Separate processes need a broker."
        )
    port, setting = settings.metrics_port, "PYCALC_METRICS_PORT"
    if port is None:
        port, setting = settings.port, "PYCALC_PORT"
    async with AsyncExitStack() as exit_stack:
        stack = ResourceStack(settings, command, exit_stack)
        database = await stack.database()
        start(stack, database, await stack.stream())
        stack.heartbeat(database)
        async with metrics_served(settings.host, port, stack.metrics.exposition, setting):
            name = "consumer" if command == "consume" else command
            at = f"http://{authority(settings.host, port)}/metrics"
            print(f"pycalc {name} runs; metrics: {at}", flush=True)  # noqa: T201  # for the person at the console
            await stop.wait()
