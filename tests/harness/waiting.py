"""Waiting for a condition, with a deadline: the only place where tests let time pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

DEADLINE_SECONDS = 30.0
_STEP_SECONDS = 0.005


def wait_until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Return as soon as the condition holds; fail when it does not within ``seconds``."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        sleep(_STEP_SECONDS)


async def until(
    condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS, *, step: float = _STEP_SECONDS
) -> None:
    """Return as soon as the condition holds, the event loop running on; fail when it does not within ``seconds``.

    In virtual time a larger ``step`` gets through long intervals with fewer looks; the deadline is in real time.
    """
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(step)


async def found(look: Callable[[], Awaitable[T | None]], what: str, seconds: float = DEADLINE_SECONDS) -> T:
    """Return what is found, as soon as it is there; fail when it is not within ``seconds``."""
    deadline = monotonic() + seconds
    while (it := await look()) is None:
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(_STEP_SECONDS)
    return it
