"""A thread for a driver whose calls block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

_T = TypeVar("_T")


class ThreadClosed(RuntimeError):
    """A call was to be made by a thread that was closed."""


class DriverThread:
    """Makes calls one after the other, off the event loop.

    A call that hangs does not hold up the end of the process, as it would in an executor, whose threads the interpreter
    waits for.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._closed = False
        Thread(target=self._serve, name=name, daemon=True).start()

    def run(self, function: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """Return what the function will return or raise, after the calls before it; cancelled in time, none is made.

        Raises ThreadClosed after ``close``.
        """
        if self._closed:
            raise ThreadClosed("the driver's thread is closed")
        outcome: Future[_T] = Future()
        self._calls.put(partial(_settle, outcome, function, arguments))
        return asyncio.wrap_future(outcome)

    def close(self) -> None:
        """Let the thread end after the calls it has been given."""
        self._closed = True
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # its result may be large, and the next one long in coming


def _settle(outcome: Future[_T], function: Callable[..., _T], arguments: tuple[Any, ...]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(function(*arguments))
    except BaseException as error:  # it belongs to the caller, like any result
        outcome.set_exception(error)
