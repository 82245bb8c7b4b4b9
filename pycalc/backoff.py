"""Exponential backoff with full jitter."""

from __future__ import annotations

import random

from pycalc.errors import StoreUnavailable

_FIRST_SECONDS = 0.2
_DOUBLINGS = 16
_LONGEST_FOR_STORE = 1.0


def full_jitter(failures: int, longest: float, first: float = _FIRST_SECONDS) -> float:
    """Return the seconds to wait after this many consecutive failures.

    The wait is a random number below a bound, so that clients that failed together do not retry together. The bound is
    ``first`` after one failure, and doubles with each further failure, up to ``longest``.
    """
    bound = min(longest, first * 2 ** min(failures - 1, _DOUBLINGS))
    return random.uniform(0, bound)  # noqa: S311  # no secret


def backoff_after(error: Exception, failures: int, longest: float) -> float:
    """Return the ``full_jitter`` wait in seconds, which is at most 1 s after a database error.

    Every calculation needs the database, so the database is tried again soon.
    """
    return full_jitter(failures, min(longest, _LONGEST_FOR_STORE) if isinstance(error, StoreUnavailable) else longest)
