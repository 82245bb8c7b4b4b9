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
    """The error of a call to a thread that was closed."""


class DriverThread:
    """A daemon thread that runs blocking calls one after the other.

    Python joins the threads of executors at exit, so a call that hangs would keep the process alive.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._closed = False
        Thread(target=self._serve, name=name, daemon=True).start()

    def run(self, function: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """Queue a call and return the future of its result. Raises ThreadClosed after ``close``."""
        if self._closed:
            raise ThreadClosed("the driver's thread is closed")
        outcome: Future[_T] = Future()
        self._calls.put((outcome, partial(function, *arguments)))
        return asyncio.wrap_future(outcome)

    def close(self) -> None:
        """End the thread after the queued calls."""
        self._closed = True
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            outcome, function = call
            if outcome.set_running_or_notify_cancel():
                try:
                    outcome.set_result(function())
                except BaseException as error:  # any error is re-raised in the caller
                    outcome.set_exception(error)
            del call, outcome, function  # frees the result, which may be large, before waiting for the next call
