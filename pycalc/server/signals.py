"""SIGTERM and SIGINT: the first one stops a process, which ends some seconds later whatever hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from time import sleep

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_SECONDS = 8.5
"""From the first signal on: then a process ends, whatever hangs."""


def block() -> None:
    """Keep signals for ``watch``, in every thread and process that is started from here on: early ones wait for it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def watch(stop: asyncio.Event, seconds: float = EXIT_SECONDS) -> None:
    """Set ``stop`` at the first signal, and end the process so many seconds later if it still runs.

    Later signals stay blocked, to the end of the process.
    """
    loop = asyncio.get_running_loop()
    threading.Thread(target=_wait, args=(loop, stop, seconds), name="signals", daemon=True).start()


def _wait(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, seconds: float) -> None:
    signal.sigwait(_SIGNALS)
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(stop.set)
    sleep(seconds)
    print("pycalc: something did not end in time; stopped without it", file=sys.stderr)  # noqa: T201
    os._exit(1)
