"""Handling of SIGTERM and SIGINT: the first signal stops the process gracefully, and a deadline ends it if it hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from time import sleep

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_SECONDS = 8.5  # from the first signal to the end of a process that hangs


def block() -> None:
    """Block SIGTERM and SIGINT until ``watch`` reads them. Threads and processes started later inherit the block."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def watch(stop: asyncio.Event, seconds: float = EXIT_SECONDS) -> None:
    """Set ``stop`` at the first signal, and end the process with status 1 if it still runs ``seconds`` later.

    Call ``block`` first. Signals after the first stay blocked until the process ends.
    """
    loop = asyncio.get_running_loop()

    def wait() -> None:
        signal.sigwait(_SIGNALS)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(stop.set)
        sleep(seconds)
        sys.stderr.write(f"pycalc: did not stop within {seconds:g} s of the signal, so the process was ended\n")
        os._exit(1)  # the main thread hangs, so no exception could end the process

    threading.Thread(target=wait, name="signals", daemon=True).start()
