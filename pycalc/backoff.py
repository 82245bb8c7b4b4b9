"""Waiting before the next try: exponentially longer, with full jitter."""

from __future__ import annotations

import random

from pycalc.errors import StoreUnavailable

_FIRST_SECONDS = 0.2
_DOUBLINGS = 16
_LONGEST_FOR_STORE = 1.0


def full_jitter(failures: int, longest: float) -> float:
    """Return how long to wait after so many failures in a row, seconds.

    Up to 0.2 after the first, and up to twice as long each time, but for no longer than ``longest``. Spread evenly, so
    that those who failed together do not come back together.
    """
    most = min(longest, _FIRST_SECONDS * 2 ** min(failures - 1, _DOUBLINGS))
    return random.uniform(0, most)  # noqa: S311  # no secret


def pause_after(error: Exception, failures: int, longest: float) -> float:
    """Return ``full_jitter``; a database is tried again within a second, to be there when calculations have it back."""
    return full_jitter(failures, min(longest, _LONGEST_FOR_STORE) if isinstance(error, StoreUnavailable) else longest)


class Pauses:
    """Seconds to wait before the next try: twice as long each time, with up to half of it left to chance."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._following = first

    def next(self) -> float:
        """Return how long to wait now."""
        pause = self._following
        self._following = min(2 * pause, self._longest)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  # instances need not agree on a moment

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._following = self._first


def reconnecting() -> Pauses:
    """Return the pauses before a server is connected to again."""
    return Pauses(0.1, 5.0)
