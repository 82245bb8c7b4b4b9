"""A clock that a busy event loop holds up: what it says is what others had time for (ADR 20)."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class TurnClock:
    """Goes with the time, but in each turn of the event loop in which it is looked at by a bound at most."""

    def __init__(self, most: float, clock: Callable[[], float] = monotonic) -> None:
        """``most``: the bound, seconds; so much of what was missed is made up for in the turns that follow."""
        self._most = most
        self._clock = clock
        self._reached = 0.0
        self.now = 0.0

    def start(self) -> None:
        """Go on from here, after a time that does not count."""
        self._reached = self._clock()

    def look(self) -> float:
        """Return what it says now, in seconds from whenever; to be called once in a turn."""
        now = self._clock()
        passed = min(now - self._reached, self._most)
        self.now += passed
        self._reached = max(self._reached + passed, now - self._most)
        return self.now
