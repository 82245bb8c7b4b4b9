"""Binomial coefficients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, lgamma, log, log10
from typing import Any

from pycalc.services.operations.base import Estimate, Modular, Parameter, ResiduePlan, Summarisable
from pycalc.services.operations.binomials.modulo import BinomialPlan, plan_binomial
from pycalc.services.operations.binomials.residue import binomial_residue, binomial_residue_seconds
from pycalc.services.operations.factorial.operation import factorial_logarithm
from pycalc.services.operations.integer_operation import IntegerOperation, Integers
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.growth import digits_by_logarithm, ends_by_logarithm
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.literals import LONGEST_OPERAND
from pycalc.services.operations.numbers.texts import ENDS, Ends
from pycalc.services.operations.numbers.thresholds import Costs, seconds

# Seconds to compute a coefficient, by its digits.
BINOMIAL_SECONDS: Costs = (
    (20, 5e-6), (180, 7e-6), (1e3, 1.2e-5), (6e3, 8e-5), (1e4, 1.6e-4), (3e4, 7.5e-4), (1e5, 4e-3), (1e6, 0.095),
    (3e6, 0.37),
)  # fmt: skip
# Seconds of a summary, by the bits of n.
SUMMARY_SECONDS: Costs = ((64, 3e-3), (330, 4e-3), (1_000, 7e-3), (3_300, 0.02), (10_000, 0.1))
_SECONDS_PER_DIGIT_AND_FACTOR = 1.5e-11  # GMP multiplies the factors one by one, if k is small compared with n
_LARGEST_LGAMMA = 10**9  # from this n on, the error of ``lgamma`` may be too large
_MARGIN = 1e-4  # above the error of a logarithm
_MOST_COUNTED = 100_000  # up to this number, digits that the logarithm does not decide are counted
_SHORT = 1_000  # up to this k, a summary is read from the coefficient itself
_LONG_BITS = 10_000  # the logarithm of an n with more bits takes long


class Binomial(IntegerOperation, Modular[Integers], Summarisable[Integers]):
    """The binomial coefficient n over k for any whole numbers, which is 0 if k < 0 or 0 <= n < k."""

    name = "binomial"
    title = "Binomial coefficient"
    description = (
        "n over k, the number of ways to choose k of n things, in full. For a negative n it is (-1)^k times "
        "(k - n - 1) over k; for a negative k it is 0."
    )
    parameters = (
        Parameter("n", "integer", "How many things there are.", "50", LONGEST_OPERAND),
        Parameter("k", "integer", "How many of them are chosen.", "25"),
    )
    quick_modulo_length = 4

    def estimate(self, args: Integers, precision: int) -> Estimate:
        sign, n, k = _normal(args)
        digits = _digits(n, k)
        size = min(digits, 10**150)
        time = seconds(BINOMIAL_SECONDS, size)
        if 16 * k < n:
            time += _SECONDS_PER_DIGIT_AND_FACTOR * size * min(k, 10**150)
        if digits > self.verified_above:
            time += binomial_residue_seconds(n, k)
        # n over k is at least (n/k)^k, and so at least 2^k.
        return Estimate(digits, time, True, least=k * 3 // 10 if sign > 0 else 0)

    def longest_results(self, ranges: Sequence[tuple[int, int]]) -> Iterable[Integers]:
        (least_n, most_n), (least_k, most_k) = ranges
        # For n >= 0, the coefficient grows with n, and also with k up to n/2. For n < 0, it grows with -n and k.
        yield most_n, max(least_k, min(most_k, most_n // 2))
        if least_n < 0:
            yield least_n, most_k

    def compute(self, args: Integers, precision: int) -> bytes:
        sign, n, k = _normal(args)
        return (gmp.bincoef(n, k) * sign).digits().encode()  # type: ignore[no-any-return]

    def residue(self, args: Integers, precision: int, prime: int) -> int:
        sign, n, k = _normal(args)
        return sign * binomial_residue(n, k, prime) % prime

    def summary(self, args: Integers) -> Ends:
        sign, n, k = _normal(args)
        if k <= _SHORT:
            return Ends.of_text((gmp.bincoef(n, k) * abs(sign)).digits())
        last: int = plan_binomial(n, k, 10**ENDS).method.residue(n, k)
        return ends_by_logarithm(lambda arithmetic: binomial_logarithm(arithmetic, n, k), 2 * n.bit_length() + 20, last)

    def summary_seconds(self, args: Integers) -> float:
        _, n, k = _normal(args)
        return self.estimate(args, 1).seconds if k <= _SHORT else seconds(SUMMARY_SECONDS, n.bit_length())

    def plan_modulo(self, args: Integers, modulus: int) -> ResiduePlan:
        _, n, k = _normal(args)
        estimate = self.estimate(args, 1)
        return plan_binomial(n, k, modulus, estimate.seconds, estimate.digits)

    def modulo(self, args: Integers, modulus: int, method: Any = None) -> int:
        sign, n, k = _normal(args)
        plan: BinomialPlan = method or self.plan_modulo(args, modulus).method
        return sign * plan.residue(n, k) % modulus

    def verify_modulo(self, args: Integers, modulus: int, method: Any, residue: int, prime: int) -> bool:
        """Return whether ``residue`` is n over k modulo ``modulus``, by Pascal's rule: (n-1 over k-1) + (n-1 over k).

        With 0 <= k <= n/2, both terms are smaller than the coefficient, and can be found if it can. The residue 0
        modulo a prime power, which ``modulo`` finds by counting carries, is checked by sums of digits instead.
        """
        sign, n, k = _normal(args)
        plan: BinomialPlan = method or self.plan_modulo(args, modulus).method
        for prime, exponent in plan.powers:
            # Such a power may not divide the two terms, whose residues could then take too long.
            power = prime**exponent
            if residue % power == 0 and _exponent(n, k, prime) >= exponent:
                modulus //= power
        terms = self.modulo((n - 1, k - 1), modulus) + self.modulo((n - 1, k), modulus)
        return (sign * terms - residue) % modulus == 0


def _exponent(n: int, k: int, prime: int) -> int:
    """Return how often a prime divides n over k, from the sums of the digits in base ``prime`` (Legendre)."""
    total = 0
    for number, sign in ((n, -1), (k, 1), (n - k, 1)):
        while number:
            number, digit = divmod(number, prime)
            total += sign * digit
    return total // (prime - 1)


def binomial_logarithm(arithmetic: IntervalArithmetic, n: int, k: int) -> Interval:
    """Return an enclosure of the base-10 logarithm of n over k, for 1,000 <= ``k`` <= n - 1,000."""
    of_n, of_k, of_rest = (factorial_logarithm(arithmetic, number) for number in (n, k, n - k))
    return of_n - of_k - of_rest


def _normal(args: Integers) -> tuple[int, int, int]:
    """Return s, m and j with n over k = s·(m over j) and 0 <= j <= m/2. If the coefficient is 0, s is 0."""
    n, k = args
    if k < 0 or 0 <= n < k:
        return 0, 0, 0
    sign = 1
    if n < 0:
        sign, n = -1 if k % 2 else 1, k - n - 1
    return sign, n, min(k, n - k)


def _digits(n: int, k: int) -> int:
    """Return the number of digits of n over k, for 0 <= k <= n/2. For k >= 10^300, return k, which exceeds any limit.

    Above 100,000 digits, and if k is at most 1,000 or n is very long, it may be one too high beside a power of ten.
    """
    if k >= 10**300:
        return k
    enclosed = k > _SHORT and n.bit_length() <= _LONG_BITS
    # If this logarithm is below 10^9, its error is below 10^-4: n is below 10^9, k at most 1,000, or n above 2^10,000.
    if n < _LARGEST_LGAMMA:
        approximate = (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)) / log(10)
    elif enclosed:
        approximate = 1e9
    else:
        # The logarithm of n·(n - 1)...(n - k + 1) is k·log(n) - k(k - 1)/2n, but for terms like k³/n².
        approximate = k * log10(n) - (lgamma(k + 1) + k * (k - 1) / (2 * n)) / log(10)
    if enclosed:
        bits = 2 * n.bit_length() + 60
        return digits_by_logarithm(approximate, lambda arithmetic: binomial_logarithm(arithmetic, n, k), bits)
    if approximate > _MOST_COUNTED or _MARGIN < approximate % 1 < 1 - _MARGIN:
        return floor(approximate + _MARGIN) + 1
    return len(gmp.bincoef(n, k).digits())


OPERATION = Binomial()
