"""Backoff before the next try: exponentially longer, with full jitter."""

from __future__ import annotations

import random

from pycalc.errors import StoreUnavailable

_FIRST_SECONDS = 0.2
_DOUBLINGS = 16
_LONGEST_FOR_STORE = 1.0


def full_jitter(failures: int, longest: float, first: float = _FIRST_SECONDS) -> float:
    """Return the wait in seconds after this many consecutive failures.

    The bound is ``first`` after the first failure, and twice as long each time, up to ``longest``. The wait is spread
    evenly below the bound, so that those who failed together do not come back together.
    """
    bound = min(longest, first * 2 ** min(failures - 1, _DOUBLINGS))
    return random.uniform(0, bound)  # noqa: S311  # no secret


def backoff_after(error: Exception, failures: int, longest: float) -> float:
    """Return the ``full_jitter`` wait; after a database error it is at most a second.

    Every calculation needs the database, so it is tried again soon.
    """
    return full_jitter(failures, min(longest, _LONGEST_FOR_STORE) if isinstance(error, StoreUnavailable) else longest)
