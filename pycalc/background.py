"""``pycalc relay`` and ``pycalc consume``: one service of the server's, in a process of its own (ADR 17)."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import uvloop
from prometheus_client import start_http_server

from pycalc.errors import PycalcError
from pycalc.observability.logging import configure_logging
from pycalc.resources import Background, open_consumer, open_relay
from pycalc.settings import Settings
from pycalc.signals import watch


def relay(settings: Settings) -> int:
    """Publish the outbox until SIGTERM or SIGINT; return the exit status."""
    return _run("relay", settings, open_relay)


def consume(settings: Settings) -> int:
    """Count the stream's events until SIGTERM or SIGINT; return the exit status."""
    return _run("consumer", settings, open_consumer)


def _run(name: str, settings: Settings, opening: Callable[[Settings], AbstractAsyncContextManager[Background]]) -> int:
    """Run until the first signal; the caller has blocked the signals, which are waited for from here on."""
    configure_logging(form=settings.log_format)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        uvloop.run(_until_stopped(name, settings, opening))
    except (PycalcError, OSError, ValueError) as error:
        print(f"pycalc: {error}", file=sys.stderr)  # noqa: T201  # for the person at the console
        return 1
    return 0


async def _until_stopped(
    name: str, settings: Settings, opening: Callable[[Settings], AbstractAsyncContextManager[Background]]
) -> None:
    stop = asyncio.Event()
    watch(stop)
    async with opening(settings) as background:
        server, thread = start_http_server(settings.port, settings.host, background.metrics.registry)
        print(f"pycalc {name} runs; metrics: http://{settings.host}:{settings.port}/metrics", flush=True)  # noqa: T201
        await stop.wait()
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
