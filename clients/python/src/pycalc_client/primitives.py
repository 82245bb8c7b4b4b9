"""The functions and classes that differ between the asynchronous and the synchronous client.

The generated code uses the same name without ``Async`` or ``async_``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from pycalc_client.errors import NotLoaded

P = ParamSpec("P")
T = TypeVar("T")

AsyncLock = asyncio.Lock
Lock = threading.Lock
async_sleep = asyncio.sleep
sleep = time.sleep


async def async_run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that reads or writes a file, in another thread, and return its result."""
    return await asyncio.to_thread(function, *args, **kwargs)


def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that reads or writes a file, and return its result."""
    return function(*args, **kwargs)


def async_load_now(load: Callable[[], Awaitable[str]]) -> str:
    """Raise NotLoaded, because a property cannot wait for the coroutine ``load``."""
    raise NotLoaded("The result is long and not in memory: `await calculation.load()` before text or result.")


def load_now(load: Callable[[], str]) -> str:
    """Call ``load`` and return its result."""
    return load()
