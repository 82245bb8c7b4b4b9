"""The clock that a busy event loop holds up."""

from __future__ import annotations

from pycalc.cache.redis.turn_clock import TurnClock


class Time:
    """What the time is, as a test sets it."""

    now = 1_000.0

    def clock(self, most: float) -> TurnClock:
        """Return a clock that goes with this time."""
        return TurnClock(most, lambda: self.now)

    def look(self, clock: TurnClock, after: float) -> float:
        """Return what a clock says after some seconds."""
        self.now += after
        return clock.look()


def test_it_goes_with_the_time() -> None:
    """As long as somebody looks often enough; a look that is a little late is made up for by the next ones."""
    time = Time()
    clock = time.clock(2.0)
    clock.start()
    assert [time.look(clock, after) for after in (1.0, 1.5, 3.0, 0.5, 1.0)] == [1.0, 2.5, 4.5, 6.0, 7.0]


def test_a_long_turn_counts_for_the_bound() -> None:
    """And so does the one after it; what else was missed is lost."""
    time = Time()
    clock = time.clock(2.0)
    clock.start()
    assert [time.look(clock, after) for after in (100.0, 0.0, 0.0, 1.0, 50.0)] == [2.0, 4.0, 4.0, 5.0, 7.0]


def test_time_before_a_start_does_not_count() -> None:
    """Nor does what was to be made up for."""
    time = Time()
    clock = time.clock(2.0)
    clock.start()
    time.look(clock, 100.0)
    time.now += 1_000.0
    clock.start()
    assert time.look(clock, 0.5) == 2.5
