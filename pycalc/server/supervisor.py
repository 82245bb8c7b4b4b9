"""The supervisor, which starts, replaces and stops several server processes on one port (ADR 19)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from time import monotonic

from structlog import get_logger

from pycalc.backoff import full_jitter, wait_until_set
from pycalc.observability.metrics import Metrics
from pycalc.resources.accounts import prepare
from pycalc.server.granian_worker import bind, open_port, refuse_connections
from pycalc.server.metrics_port import metrics_served
from pycalc.server.process_metrics import ProcessMetrics
from pycalc.server.serve import print_banner
from pycalc.server.signals import EXIT_SECONDS, block, watch
from pycalc.settings import Settings

# If a process exits by itself before it has once run for this time, a restart would fail too, so the service ends.
_SETTLED_SECONDS = 5.0
_MAX_BACKOFF_SECONDS = 5.0
# After the signal, a process ends itself within EXIT_SECONDS; then the supervisor kills it; then the supervisor ends.
_STOP_SECONDS = EXIT_SECONDS + 0.3
_EXIT_SECONDS = EXIT_SECONDS + 0.45
_STOPPED = (0, 128 + signal.SIGTERM, 128 + signal.SIGINT)  # drained, or stopped while still starting
_KILLED = (-signal.SIGKILL, 128 + signal.SIGTERM)  # ended from outside, so not by a fault of its own

_log = get_logger(__name__)


def supervise(settings: Settings) -> None:
    """Run ``settings.workers`` server processes until SIGTERM or SIGINT.

    Raises PycalcError, OSError or ValueError if the service can't start, or a process can't be kept running.
    """
    block()
    asyncio.run(_supervise(settings))


async def _supervise(settings: Settings) -> None:
    stop = asyncio.Event()
    watch(stop, _EXIT_SECONDS)
    with bind(settings.host, settings.port) as listener:
        token = await prepare(settings)
        metrics = ProcessMetrics(Metrics(), settings.metrics_seconds)
        async with metrics_served(settings.host, settings.metrics_port, metrics.total):
            open_port(listener)  # from the banner on, connections wait for a process instead of being refused
            print_banner(settings, token)
            numbers = range(settings.workers)
            keepers = [asyncio.create_task(_keep_running(number, listener, metrics, stop)) for number in numbers]
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({*keepers, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stop.set()  # when one process can't be kept running, all end
            refuse_connections(listener)
            await asyncio.wait(keepers)
        for keeper in keepers:
            keeper.result()


async def _keep_running(number: int, listener: socket.socket, metrics: ProcessMetrics, stop: asyncio.Event) -> None:
    """Run one server process on the shared listening socket until ``stop`` is set, and replace it when it dies.

    Raises OSError for an unexpected exit status after ``stop``, or if the process ends before any has run for 5 s.
    """
    settled, failures = False, 0
    while not stop.is_set():
        began = monotonic()
        ours, theirs = socket.socketpair()  # the process's standard input, so it notices if the supervisor ends
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pycalc", "serve", "--listener", str(listener.fileno())),
                stdin=theirs.fileno(),
                pass_fds=(listener.fileno(),),
                env=os.environ,
            )
        await metrics.add(number, ours)
        waiting = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if stop.is_set():
            await _stop(number, process)
            return
        settled = settled or monotonic() - began >= _SETTLED_SECONDS
        if not settled and process.returncode not in _KILLED:
            raise OSError(f"server process {number} ended right after its start, status {process.returncode}")
        await metrics.remove(number)
        failures = 0 if monotonic() - began >= _SETTLED_SECONDS else failures + 1
        _log.error("server process ended", process=number, status=process.returncode)
        if failures:
            await wait_until_set(stop, full_jitter(failures, _MAX_BACKOFF_SECONDS))


async def _stop(number: int, process: asyncio.subprocess.Process) -> None:
    """Stop a server process with SIGTERM, and kill it at the deadline. Raises OSError for an unexpected exit status."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        status = await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        status = await process.wait()
    if status not in _STOPPED:
        raise OSError(f"server process {number} did not end as it should, status {status}")
