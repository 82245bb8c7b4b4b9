"""``pycalc relay`` and ``pycalc consume``: event publishing and counting in separate processes (ADR 17)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import uvloop

from pycalc.db.base import Database
from pycalc.errors import StoreUnavailable, StreamUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.resources.resource_stack import ResourceStack
from pycalc.server.metrics_port import metrics_served
from pycalc.server.signals import watch
from pycalc.services.limits.client_address import address
from pycalc.settings import Settings

_Service = Callable[[Settings], AbstractAsyncContextManager[Metrics]]


def relay(settings: Settings) -> None:
    """Publish the outbox until SIGTERM or SIGINT."""
    _run("relay", settings, _relay)


def consume(settings: Settings) -> None:
    """Add up the stream's events until SIGTERM or SIGINT."""
    _run("consumer", settings, _consumer)


@asynccontextmanager
async def _relay(settings: Settings) -> AsyncIterator[Metrics]:
    """Run a relay. At the end it publishes all committed events and releases its lease."""
    async with AsyncExitStack() as exit_stack:
        stack = ResourceStack(settings, "relay", exit_stack)
        stack.relay(await _shared_database(stack), await stack.stream())
        yield stack.metrics


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[Metrics]:
    """Run a consumer. At the end it finishes its batch and leaves the group."""
    if settings.stream_url.startswith("memory:"):
        raise StreamUnavailable(
            "PYCALC_STREAM_URL is memory://: events don't leave `pycalc serve`, which runs the consumer itself."
        )
    async with AsyncExitStack() as exit_stack:
        stack = ResourceStack(settings, "consume", exit_stack)
        database = await _shared_database(stack)
        stack.consumer(database, await stack.stream())
        yield stack.metrics


async def _shared_database(stack: ResourceStack) -> Database:
    """Open a database that several processes may use; raises StoreUnavailable for SQLite."""
    if stack.settings.database.startswith("sqlite:"):
        raise StoreUnavailable(
            "PYCALC_DATABASE_URL names an SQLite file, which one process serves: `pycalc serve` runs the relay and the "
            "consumer itself. Beside servers on PostgreSQL they are processes of their own."
        )
    return await stack.database()


def _run(name: str, settings: Settings, service: _Service) -> None:
    """Run a service until a signal; the caller has blocked the signals, so that none is lost before this point."""

    async def until_stopped() -> None:
        stop = asyncio.Event()
        watch(stop)
        port, setting = settings.metrics_port, "PYCALC_METRICS_PORT"
        if port is None:
            port, setting = settings.port, "PYCALC_PORT"
        async with service(settings) as metrics, metrics_served(settings.host, port, metrics.exposition, setting):
            at = f"http://{address(settings.host, port)}/metrics"
            print(f"pycalc {name} runs; metrics: {at}", flush=True)  # noqa: T201  # for the person at the console
            await stop.wait()

    uvloop.run(until_stopped())
