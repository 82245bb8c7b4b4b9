"""Exponential backoff with full jitter, and a wait that ends early when an event is set."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from pycalc.errors import StoreUnavailable


def full_jitter(failures: int, longest: float, first: float = 0.2) -> float:
    """Return the seconds to wait after this many consecutive failures.

    The wait is a random number from 0 to a bound, so that clients that failed together do not retry together. The bound
    is ``first`` seconds after one failure, and doubles with each of the next 16. It is at most ``longest`` seconds.
    """
    bound = min(longest, first * 2 ** min(failures - 1, 16))
    return random.uniform(0, bound)  # noqa: S311  # no secret


def backoff_after(error: Exception, failures: int, longest: float) -> float:
    """Return ``full_jitter(failures, longest)``, but at most 1 s if ``error`` says that the database is unavailable."""
    if isinstance(error, StoreUnavailable):  # every calculation needs the database, so the service retries soon
        longest = min(longest, 1.0)
    return full_jitter(failures, longest)


async def wait_until_set(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until ``event`` is set, or for ``seconds``; None means no limit. Return whether the event is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
