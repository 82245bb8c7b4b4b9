"""n over k modulo any m, mostly from its residues modulo the prime powers in m (Chinese remainder theorem)."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.services.operations.base import ResiduePlan
from pycalc.services.operations.binomials.prime_powers import (
    carries,
    modulo_prime,
    modulo_prime_power,
    modulo_prime_power_seconds,
    modulo_prime_seconds,
)
from pycalc.services.operations.factorial.modulo import FactorialPlan
from pycalc.services.operations.factorial.residue import factorial_by_steps
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.primes import all_factors, small_factors
from pycalc.services.operations.numbers.texts import inverse

_DIRECT_BELOW = 20_000
_TRIAL_LIMIT = 10**6  # the limit of the second trial division of m; that of the first takes little time
_PRIMALITY_BITS = 4_000
_FACTORED_BITS = 128  # bits of the cofactor after trial division; a longer composite cofactor is not factored
_QUICK_BITS = 5_000  # if the bits of n times the number of primes in m exceed this, an estimate counts no carries
_MOST_WHOLE = 30_000_000  # digits; a coefficient with more is not computed in full
_SECONDS_PER_FACTOR = 3e-7


class BinomialPlan(NamedTuple):
    """The method for n over k modulo m: a factorization of m into powers of primes and a cofactor ``rough``.

    All prime factors of ``rough`` are above k. If ``whole`` is set, ``rough`` is m itself instead.
    """

    powers: tuple[tuple[int, int], ...]  # primes with their exponents
    rough: int
    steps: bool = False  # whether the prime factors of ``rough`` are above n too
    whole: bool = False  # whether ``rough`` is m, and the coefficient itself is computed and divided by m

    def residue(self, n: int, k: int) -> int:
        """Return n over k modulo m, from its residues modulo ``rough`` and modulo the powers of primes."""
        if self.whole:
            return int(gmp.bincoef(n, k) % self.rough)
        result, modulus = 0, self.rough
        if modulus > 1:
            product_seconds, steps_seconds = self._rough_seconds(n, k)
            if steps_seconds < product_seconds:
                above = factorial_by_steps(n, modulus)
                below = factorial_by_steps(k, modulus) * factorial_by_steps(n - k, modulus)
            else:
                above = below = mpz(1)
                for index in range(k):
                    above = above * (n - index) % modulus
                    below = below * (index + 1) % modulus
            result = int(above * inverse(below, modulus) % modulus)
        for prime, exponent in self.powers:
            part, found = prime**exponent, 0
            if carries(n, k, prime) < exponent:
                found = modulo_prime(n, k, prime) if exponent == 1 else modulo_prime_power(n, k, prime, exponent)
            result += modulus * ((found - result) * inverse(modulus, part) % part)
            modulus *= part
        return result

    def cost(self, n: int, k: int) -> ResiduePlan:
        """Return this method with its estimated cost for n over k."""
        powers = self.powers
        if n.bit_length() * len(powers) <= _QUICK_BITS:  # a power that divides the coefficient costs nothing
            powers = tuple((prime, exponent) for prime, exponent in powers if carries(n, k, prime) < exponent)
        seconds, memory = 1e-5, 0.0
        for prime, exponent in powers:
            if exponent == 1:
                seconds += modulo_prime_seconds(n, prime)
                memory = max(memory, FactorialPlan(1, prime).cost(prime - 1).memory)
            else:
                seconds += modulo_prime_power_seconds(n, prime, exponent)
        if self.rough > 1:
            product, steps = self._rough_seconds(n, k)
            seconds += min(product, steps)
            if steps < product:
                memory = max(memory, FactorialPlan(1, self.rough).cost(n).memory)
        return ResiduePlan(seconds, memory, self)

    def _rough_seconds(self, n: int, k: int) -> tuple[float, float]:
        """Return the seconds of the residue modulo ``rough`` from products of k factors, and from factorials."""
        factor = thresholds.seconds(thresholds.POWER_RESIDUE_SECONDS, self.rough.bit_length()) + _SECONDS_PER_FACTOR
        factorials = [FactorialPlan(1, self.rough).cost(each).seconds for each in (n, k, n - k) if self.steps]
        return min(k, 10**300) * factor, sum(factorials) if factorials else inf


def plan_binomial(n: int, k: int, modulus: int, whole_seconds: float = inf, whole_digits: int = 0) -> ResiduePlan:
    """Return the method and the cost for n over k modulo ``modulus``, with 0 <= ``k`` <= n/2.

    The coefficient itself has ``whole_digits`` digits, and takes ``whole_seconds`` to compute. Raises InvalidInput if
    ``modulus`` would take too long to factor and the coefficient is too large to compute.
    """
    if whole_digits > _MOST_WHOLE:
        whole_seconds = inf
    whole = ResiduePlan(whole_seconds, min(whole_digits, _MOST_WHOLE) / 2, BinomialPlan((), modulus, whole=True))
    if n < _DIRECT_BELOW:
        return whole
    powers, rough = small_factors(modulus)
    limit = min(n, _TRIAL_LIMIT)
    if rough > 1:
        found, rough = small_factors(rough, limit)
        powers += found
    steps = n <= limit
    if k > limit and rough > 1:
        if rough.bit_length() <= _PRIMALITY_BITS and gmp.is_prime(rough):
            factors = [(rough, 1)]
        elif rough.bit_length() <= _FACTORED_BITS:
            factors = all_factors(rough)
        else:
            if whole_seconds < inf:
                return whole
            detail = (
                "mod is too hard to factor for these operands: choose one that is a prime or has at most 38 digits, "
                "not counting its prime factors below 10^6."
            )
            raise InvalidInput.of(FieldProblem("/mod", detail))
        steps = True
        powers += [(prime, exponent) for prime, exponent in factors if prime <= n]
        for prime, exponent in factors:
            rough //= prime**exponent if prime <= n else 1
    best = BinomialPlan(tuple(powers), rough, steps).cost(n, k)
    return whole if whole_seconds < best.seconds else best
