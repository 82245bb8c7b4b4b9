"""Several server processes on one port: started, replaced when one dies, and stopped together (ADR 19)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from time import monotonic

from structlog import get_logger

from pycalc.backoff import full_jitter
from pycalc.errors import PycalcError
from pycalc.observability.logging import configure_logging
from pycalc.observability.metrics import Metrics
from pycalc.resources.accounts import prepare
from pycalc.server.granian_worker import bind, refuse_connections
from pycalc.server.process_metrics import Fleet
from pycalc.server.serve import own_metrics_port, print_banner
from pycalc.server.signals import EXIT_SECONDS, block, watch
from pycalc.settings import Settings

_SETTLED_SECONDS = 5.0
"""A first process that ends by itself sooner than this after its start can't work: then the whole service ends."""
_LONGEST_BACKOFF = 5.0
_STOP_SECONDS = EXIT_SECONDS + 0.3
"""How long a process may take to drain: its own deadline comes first, the supervisor's last."""
_LAST_SECONDS = EXIT_SECONDS + 0.45
_STOPPED = (0, 128 + signal.SIGTERM, 128 + signal.SIGINT)
"""How a server process ends that is told to: drained, or at once while it still starts."""
_KILLED = (-signal.SIGKILL, 128 + signal.SIGTERM)
"""Statuses of a process that somebody else has ended, which says nothing about it."""

_log = get_logger(__name__)


def supervise(settings: Settings) -> int:
    """Run ``settings.workers`` servers until SIGTERM or SIGINT; return the exit status."""
    configure_logging(form=settings.log_format)
    block()
    try:
        asyncio.run(_supervise(settings))
    except (PycalcError, OSError, ValueError) as error:
        print(f"pycalc: {error}", file=sys.stderr)  # noqa: T201  # for the person at the console
        return 1
    return 0


async def _supervise(settings: Settings) -> None:
    stop = asyncio.Event()
    watch(stop, _LAST_SECONDS)
    with bind(settings.host, settings.port) as listener:
        print_banner(settings, await prepare(settings))
        fleet = Fleet(Metrics(), settings.metrics_seconds)
        numbers = range(settings.workers)
        async with own_metrics_port(settings, fleet.total):
            keepers = [asyncio.create_task(_keep_running(number, listener, fleet, stop)) for number in numbers]
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({*keepers, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stop.set()  # one that can't be kept running ends all
            refuse_connections(listener)
            await asyncio.wait(keepers)
        for keeper in keepers:
            keeper.result()


async def _keep_running(number: int, listener: socket.socket, fleet: Fleet, stop: asyncio.Event) -> None:
    """Run one server on the listening socket that all share, and another one when it dies."""
    settled, failures = False, 0
    while not stop.is_set():
        began = monotonic()
        process = await _start(number, listener, fleet)
        await _until_ended_or(stop, process)
        if stop.is_set():
            await _end(number, process)
            return
        settled = settled or monotonic() - began >= _SETTLED_SECONDS
        if not settled and process.returncode not in _KILLED:
            raise OSError(f"server process {number} ended right after its start, status {process.returncode}")
        await fleet.lost(number)
        failures = 0 if monotonic() - began >= _SETTLED_SECONDS else failures + 1
        _log.error("server process ended", process=number, status=process.returncode)
        if failures:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), full_jitter(failures, _LONGEST_BACKOFF))


async def _until_ended_or(stop: asyncio.Event, process: asyncio.subprocess.Process) -> None:
    waiting = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _end(number: int, process: asyncio.subprocess.Process) -> None:
    """Let a server drain; raises OSError when it does not end as it should."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        status = await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        status = await process.wait()
    if status not in _STOPPED:
        raise OSError(f"server process {number} did not end as it should, status {status}")


async def _start(number: int, listener: socket.socket, fleet: Fleet) -> asyncio.subprocess.Process:
    """Start a server; its standard input is the line to the supervisor, and tells it when that is gone."""
    descriptor = listener.fileno()
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pycalc", "serve", "--listener", str(descriptor)),
            stdin=theirs.fileno(),
            pass_fds=(descriptor,),
            env=os.environ,
        )
    await fleet.join(number, ours)
    return process
