"""Waiting before the next try: exponentially longer, with full jitter."""

from __future__ import annotations

import random

_FIRST_SECONDS = 0.2
_DOUBLINGS = 16


def full_jitter(failures: int, longest: float) -> float:
    """Return how long to wait after so many failures in a row, seconds.

    Up to 0.2 after the first, and up to twice as long each time, but for no longer than ``longest``. Spread evenly, so
    that those who failed together do not come back together.
    """
    most = min(longest, _FIRST_SECONDS * 2 ** min(failures - 1, _DOUBLINGS))
    return random.uniform(0, most)  # noqa: S311  # no secret
