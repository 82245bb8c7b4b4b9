"""``pycalc relay`` and ``pycalc consume``: one service of the server's, in a process of its own (ADR 17)."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import uvloop

from pycalc.db.base import Database
from pycalc.errors import PycalcError, StoreUnavailable, StreamUnavailable
from pycalc.observability.logging import configure_logging
from pycalc.observability.metrics import Metrics
from pycalc.resources.resource_stack import ResourceStack
from pycalc.server.metrics_port import metrics_served
from pycalc.server.signals import watch
from pycalc.services.limits.client_address import address
from pycalc.settings import Settings
from pycalc.streaming.base import Consumable

_Open = Callable[[Settings], AbstractAsyncContextManager[Metrics]]
"""Opens a part, closes it in the end, and gives its metrics."""


def relay(settings: Settings) -> int:
    """Publish the outbox until SIGTERM or SIGINT; return the exit status."""
    return _run("relay", settings, _open_relay)


def consume(settings: Settings) -> int:
    """Count the stream's events until SIGTERM or SIGINT; return the exit status."""
    return _run("consumer", settings, _open_consumer)


@asynccontextmanager
async def _open_relay(settings: Settings) -> AsyncIterator[Metrics]:
    """Run a relay; at the end it publishes what is committed and gives its lease back."""
    async with AsyncExitStack() as closing:
        stack = ResourceStack(settings, "relay", closing)
        stack.relay(await _shared_database(stack), await stack.stream())
        yield stack.metrics


@asynccontextmanager
async def _open_consumer(settings: Settings) -> AsyncIterator[Metrics]:
    """Run a consumer; at the end it finishes its batch and leaves the group."""
    if settings.stream_url.startswith("memory:"):
        raise StreamUnavailable(
            "PYCALC_STREAM_URL is memory://: events don't leave `pycalc serve`, which runs the consumer itself."
        )
    async with AsyncExitStack() as closing:
        stack = ResourceStack(settings, "consume", closing)
        database = await _shared_database(stack)
        stream = await stack.stream()
        if not isinstance(stream, Consumable):
            raise StreamUnavailable("This stream can't be consumed.")
        stack.consumer(database, stream)
        yield stack.metrics


async def _shared_database(stack: ResourceStack) -> Database:
    """Open a database that a second process may use; raises StoreUnavailable for one that it may not."""
    if stack.settings.database.startswith("sqlite:"):
        raise StoreUnavailable(
            "PYCALC_DATABASE_URL names an SQLite file, which one process serves: `pycalc serve` runs the relay and the "
            "consumer itself. Beside servers on PostgreSQL they are processes of their own."
        )
    return await stack.database()


def _run(name: str, settings: Settings, opening: _Open) -> int:
    """Run until the first signal; the caller has blocked the signals, which are waited for from here on."""
    configure_logging(form=settings.log_format)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        uvloop.run(_until_stopped(name, settings, opening))
    except (PycalcError, OSError, ValueError) as error:
        print(f"pycalc: {error}", file=sys.stderr)  # noqa: T201  # for the person at the console
        return 1
    return 0


async def _until_stopped(name: str, settings: Settings, opening: _Open) -> None:
    stop = asyncio.Event()
    watch(stop)
    port = settings.port if settings.metrics_port is None else settings.metrics_port
    setting = "PYCALC_PORT" if settings.metrics_port is None else "PYCALC_METRICS_PORT"
    async with (
        opening(settings) as metrics,
        metrics_served(settings.host, port, metrics.exposition, setting),
    ):
        print(f"pycalc {name} runs; metrics: http://{address(settings.host, port)}/metrics", flush=True)  # noqa: T201
        await stop.wait()
