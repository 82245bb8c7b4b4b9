"""The logarithms of large binomial coefficients, by Stirling's series, and the costs of summaries and residues."""

from __future__ import annotations

from pycalc.services.operations.binomials.prime_factors import is_sieved, sieved_residue_seconds
from pycalc.services.operations.factorial.operation import factorial_logarithm
from pycalc.services.operations.factorial.residue import factorial_residue_seconds
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.thresholds import Costs, seconds

# Seconds of a summary, by the bits of n.
_SUMMARY_SECONDS: Costs = ((64, 3e-3), (330, 4e-3), (1_000, 7e-3), (3_300, 0.02), (10_000, 0.1))


def binomial_logarithm(arithmetic: IntervalArithmetic, n: int, k: int) -> Interval:
    """Return an enclosure of the base-10 logarithm of n over k, for 1,000 <= ``k`` <= n - 1,000."""
    of_n, of_k, of_rest = (factorial_logarithm(arithmetic, number) for number in (n, k, n - k))
    return of_n - of_k - of_rest


def binomial_summary_seconds(n: int) -> float:
    """Estimate the seconds for the first digits of n over k and its residue modulo 10^20, on one core."""
    return seconds(_SUMMARY_SECONDS, n.bit_length())


def binomial_residue_seconds(n: int, k: int) -> float:
    """Estimate the seconds for n over ``k`` modulo a prime of 61 bits, by a sieve or by factorials, on one core."""
    return sieved_residue_seconds(n) if is_sieved(n, k) else factorial_residue_seconds(n)
