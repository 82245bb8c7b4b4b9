"""Binomial coefficients."""

from __future__ import annotations

from math import ceil, lgamma, log, log10

from pycalc.services.operations.base import ByResidue, Estimate, Parameter
from pycalc.services.operations.factorial.residue import factorial_residue, factorial_residue_seconds
from pycalc.services.operations.integer_operation import IntegerOperation, Integers
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.literals import LONGEST_OPERAND
from pycalc.services.operations.numbers.texts import inverse
from pycalc.services.operations.numbers.thresholds import Costs, seconds

_SHORT_PRODUCT = 10_000  # so many factors are multiplied one by one modulo the prime
_SECONDS: Costs = (
    (20, 5e-6), (180, 7e-6), (1e3, 1.2e-5), (6e3, 8e-5), (1e4, 1.6e-4), (3e4, 7.5e-4), (1e5, 4e-3), (1e6, 0.095),
    (3e6, 0.37),
)  # fmt: skip
_SECONDS_PER_DIGIT_AND_FACTOR = 1.5e-11  # GMP multiplies the factors one by one, where k is small beside n
_SECONDS_PER_FACTOR = 3e-7  # of the verification
_LARGEST_FLOAT = 10**15


class Binomial(IntegerOperation, ByResidue[Integers]):
    """n over k, for any whole n; 0 where k is below 0, or above an n that is not negative."""

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

    def estimate(self, args: Integers, precision: int) -> Estimate:
        _, n, k = _normal(args)
        digits = _most_digits(n, k)
        size = min(digits, 10**150)
        time = seconds(_SECONDS, size)
        if 16 * k < n:
            time += _SECONDS_PER_DIGIT_AND_FACTOR * size * min(k, 10**150)
        if digits > self.verified_above:
            time += _verification_seconds(n, k)
        return Estimate(digits, time, True)

    def compute(self, args: Integers, precision: int) -> bytes:
        sign, n, k = _normal(args)
        return (gmp.bincoef(n, k) * sign).digits().encode()  # type: ignore[no-any-return]

    def residue(self, args: Integers, precision: int, prime: int) -> int:
        """Return the coefficient modulo ``prime``, as a product for a small k, else as a quotient of factorials."""
        sign, n, k = _normal(args)
        if k <= _SHORT_PRODUCT or n >= prime:
            above = below = 1
            for i in range(k):
                above, below = above * (n - i) % prime, below * (i + 1) % prime
        else:
            above = factorial_residue(n, prime)
            below = factorial_residue(k, prime) * factorial_residue(n - k, prime) % prime
        return sign * above * inverse(below, prime) % prime


def _normal(args: Integers) -> tuple[int, int, int]:
    """Return a sign (or 0), n and the smaller of k and n - k, for an n >= 0."""
    n, k = args
    if k < 0 or 0 <= n < k:
        return 0, 0, 0
    sign = 1
    if n < 0:
        sign, n = -1 if k % 2 else 1, k - n - 1
    return sign, n, min(k, n - k)


def _most_digits(n: int, k: int) -> int:
    """Return the number of digits of n over k, or a few more."""
    if k == 0:
        return 1
    if n < _LARGEST_FLOAT:
        logarithm = (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)) / log(10)
        return ceil(logarithm * (1 + 1e-9) + n * 1e-14) + 1
    # n over k is at most (3n/k)^k, since k! is at least (k/e)^k.
    return ceil(k * (log10(3 * n) - log10(k)) * (1 + 1e-9)) + 1 if k < 10**300 else k


def _verification_seconds(n: int, k: int) -> float:
    if k <= _SHORT_PRODUCT or n >= 2**61:
        return _SECONDS_PER_FACTOR * min(k, 10**300)
    return sum(map(factorial_residue_seconds, (n, k, n - k)))


OPERATION = Binomial()
