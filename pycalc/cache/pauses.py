"""Pauses between tries that fail: longer each time, up to a bound."""

from __future__ import annotations

from random import uniform


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
        return pause * uniform(0.5, 1.0)  # noqa: S311  # instances need not agree on a moment

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._following = self._first


def reconnecting() -> Pauses:
    """Return the pauses before a server is connected to again."""
    return Pauses(0.1, 5.0)
