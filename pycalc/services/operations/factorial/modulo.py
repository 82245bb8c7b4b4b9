"""n! modulo any m, by a factorization m = a·b where a divides n!.

The residue modulo a is 0. The residue modulo b takes O(sqrt(n) log n) operations. A small n! is computed in full.
"""

from __future__ import annotations

from math import log2, sqrt
from typing import NamedTuple

from pycalc.services.operations.base import ResiduePlan
from pycalc.services.operations.factorial.residue import factorial_by_steps, largest_inverted
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.primes import coprime_part, factorial_exponent, small_factors
from pycalc.services.operations.numbers.texts import inverse

_DIRECT_BELOW = 20_000
_TRIAL_LIMIT = 10**6  # the largest prime factor of m that planning looks for
_PRIMALITY_BITS = 4_000
_LONGEST_MIRROR = 2**64  # a product of this many factors takes too long in any case


class FactorialPlan(NamedTuple):
    """A method for n! modulo m, based on a factorization m = ``smooth``·``rough``, where ``smooth`` divides n!."""

    smooth: int
    rough: int
    mirror: int | None = None  # ``rough`` - 1 - n, if ``rough`` is a prime and Wilson's theorem saves time
    whole: bool = False  # whether ``rough`` is m, and n! itself is computed and divided by m
    searched: int = 0  # ``rough`` has no prime factor up to this number

    def residue(self, n: int) -> int:
        """Return ``n``! modulo m, from 0 modulo ``smooth`` and n! modulo ``rough`` (Chinese remainder theorem)."""
        if self.whole:
            return int(gmp.fac(n) % self.rough)
        smooth, rough = self.smooth, self.rough
        if self.mirror is not None:
            # By Wilson's theorem, n! is congruent to (-1)^(mirror+1) / mirror! modulo the prime.
            inverted = inverse(factorial_by_steps(self.mirror, rough), rough)
            value = inverted if self.mirror % 2 else -inverted
        else:
            if rough > n and largest_inverted(n) > self.searched:
                # The factors of ``rough`` that are removed divide n!. Each of their primes p is between 10^6 and
                # 4·sqrt(n) + 4, so that n/p > 60,000 and p^60,000 divides n!. No exponent in ``rough`` is as large,
                # because p^60,000 has over 360,000 digits, far more than any modulus.
                rest = int(coprime_part(mpz(rough), gmp.primorial(largest_inverted(n))))
                smooth, rough = smooth * (rough // rest), rest
            if rough <= n:
                return 0
            value = factorial_by_steps(n, rough)
        return smooth * (value * inverse(smooth, rough) % rough)

    def cost(self, n: int) -> ResiduePlan:
        """Return this method with its estimated cost for ``n``!."""
        if self.whole:
            product = thresholds.seconds(thresholds.FACTORIAL_PRODUCT_SECONDS, n)
            return ResiduePlan(product, 2.0 * n * max(1.0, log2(n + 1)), self)
        if self.rough <= n:
            return ResiduePlan(1e-5, 0.0, self)
        factors = n if self.mirror is None else self.mirror
        steps = sqrt(factors) if factors < 10**300 else 1e150
        width = self.rough.bit_length()
        seconds = steps * thresholds.seconds(thresholds.FACTORIAL_RESIDUE_SECONDS, width)
        memory = thresholds.FACTORIAL_RESIDUE_BYTES + thresholds.FACTORIAL_RESIDUE_BYTES_PER_BIT * width
        return ResiduePlan(1e-4 + seconds * max(1.0, log2(steps + 1) / 10), steps * memory, self)


def plan_factorial(n: int, modulus: int) -> FactorialPlan:
    """Return the method to compute ``n``! modulo ``modulus``, which must be at least 1."""
    if n >= modulus:
        return FactorialPlan(modulus, 1)
    limit = min(n, largest_inverted(n), _TRIAL_LIMIT)
    if n < _DIRECT_BELOW:
        return FactorialPlan(1, modulus, whole=True)
    factors, rough = small_factors(modulus, limit)
    for prime, exponent in factors:
        if factorial_exponent(n, prime, enough=exponent) < exponent:  # n! is no multiple of this power
            return FactorialPlan(1, modulus, whole=True)
    smooth = modulus // rough
    mirror = rough - 1 - n
    if 0 <= mirror < min(n, _LONGEST_MIRROR) and rough.bit_length() <= _PRIMALITY_BITS and gmp.is_prime(rough):
        return FactorialPlan(smooth, rough, mirror)
    return FactorialPlan(smooth, rough, searched=limit)
