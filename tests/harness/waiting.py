"""Functions that wait for a condition with a deadline, so that tests need not sleep for a fixed time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

DEADLINE_SECONDS = 30.0
_STEP_SECONDS = 0.005
# The interval between two checks grows, because a check may cost a request.
_GROWTH, _LONGEST_STEP_SECONDS = 1.2, 0.05


def wait_until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until ``condition`` returns true; after ``seconds``, fail with ``what`` in the message."""
    deadline, step = monotonic() + seconds, _STEP_SECONDS
    while not condition():
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        sleep(step)
        step = min(step * _GROWTH, _LONGEST_STEP_SECONDS)


async def until(
    condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS, *, step: float = _STEP_SECONDS
) -> None:
    """Wait until ``condition`` returns true while the event loop runs; fail after ``seconds``.

    In virtual time, a larger ``step`` needs fewer checks for a long interval; the deadline is in real time.
    """
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(step)


async def found(look: Callable[[], Awaitable[T | None]], what: str, seconds: float = DEADLINE_SECONDS) -> T:
    """Call ``look`` until it returns a value that is not None, and return the value; fail after ``seconds``."""
    deadline, step = monotonic() + seconds, _STEP_SECONDS
    while (it := await look()) is None:
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(step)
        step = min(step * _GROWTH, _LONGEST_STEP_SECONDS)
    return it
