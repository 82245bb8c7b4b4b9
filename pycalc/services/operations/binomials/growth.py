"""Logarithms of large binomial coefficients, by Stirling's series. They determine the size and the first digits."""

from __future__ import annotations

from pycalc.services.operations.factorial.operation import StirlingLogarithm
from pycalc.services.operations.numbers.growth import Logarithm
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.thresholds import Costs, seconds

# Seconds by the bits of n.
_SUMMARY_SECONDS: Costs = ((64, 3e-3), (330, 4e-3), (1_000, 7e-3), (3_300, 0.02), (10_000, 0.1))


def binomial_logarithm(n: int, k: int) -> Logarithm:
    """Return a function that encloses the base-10 logarithm of n over k, for 1,000 <= ``k`` <= n - 1,000."""

    def logarithm(arithmetic: IntervalArithmetic) -> Interval:
        below = arithmetic.add(StirlingLogarithm(k)(arithmetic), StirlingLogarithm(n - k)(arithmetic))
        return arithmetic.subtract(StirlingLogarithm(n)(arithmetic), below)

    return logarithm


def binomial_summary_seconds(n: int) -> float:
    """Estimate the seconds for the first digits of n over k and its residue modulo 10^20, on one core."""
    return seconds(_SUMMARY_SECONDS, n.bit_length())
