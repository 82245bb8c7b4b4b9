"""Binomial coefficients modulo a random prime, for the verification of results."""

from __future__ import annotations

from math import isqrt

from pycalc.services.operations.factorial.residue import factorial_residue_seconds, factorial_residues
from pycalc.services.operations.numbers.primes import factorial_exponent, marked_product, prime_sieve, primes_up_to
from pycalc.services.operations.numbers.texts import inverse
from pycalc.services.operations.numbers.thresholds import Costs, seconds

_LARGEST_SIEVED = 500_000  # above about this n, a quotient of factorials is faster
_LARGEST_RATIO = 30  # above about this ratio of n to k, multiplying the factors of numerator and denominator is faster
_SECONDS: Costs = ((500, 4e-5), (3_400, 1.1e-4), (3.3e4, 5e-4), (3.3e5, 3.4e-3))
_SHORT_PRODUCT = 10_000  # up to this k, the factors are multiplied one by one, if no sieve is used
_SECONDS_PER_FACTOR = 3e-7  # for each of the k factors


def binomial_residue(n: int, k: int, prime: int) -> int:
    """Return n over ``k``, for 0 <= k <= n/2, modulo a ``prime`` above k.

    It is found from its prime factors, from two products of k factors, or from three factorials.
    """
    if _is_sieved(n, k):
        return sieved_residue(n, k, prime)
    if k <= _SHORT_PRODUCT or n >= prime:
        above = below = 1
        for i in range(k):
            above, below = above * (n - i) % prime, below * (i + 1) % prime
    else:
        above, *others = factorial_residues((n, k, n - k), prime)
        below = others[0] * others[1] % prime
    return above * inverse(below, prime) % prime


def binomial_residue_seconds(n: int, k: int) -> float:
    """Estimate the seconds of ``binomial_residue`` for a prime of 61 bits, on one core."""
    if _is_sieved(n, k):
        return seconds(_SECONDS, n)
    if k <= _SHORT_PRODUCT or n >= 2**61:
        return _SECONDS_PER_FACTOR * min(k, 10**300)
    return factorial_residue_seconds(n)


def _is_sieved(n: int, k: int) -> bool:
    return n <= min(_LARGEST_SIEVED, _LARGEST_RATIO * k)


def sieved_residue(n: int, k: int, modulus: int) -> int:
    """Return n over ``k``, for 0 <= k <= n, modulo any ``modulus``, by Legendre's formula for the exponents of primes.

    A prime p above sqrt(n) has the exponent n//p - k//p - (n - k)//p, 0 or 1, while none of the quotients changes.
    """
    terms = (n, k, n - k)
    start = max(isqrt(n) + 1, 7)  # ``marked_product`` leaves out the primes below 7
    result = 1 % modulus
    for prime in primes_up_to(min(start - 1, n)):
        above, *below = (factorial_exponent(term, prime) for term in terms)
        result = result * pow(prime, above - sum(below), modulus) % modulus
    sieve = prime_sieve(n)
    sieve[: start // 2] = bytes(len(sieve[: start // 2]))
    while start <= n:
        end = min(term // (term // start) for term in terms if term >= start)
        if n // start == k // start + (n - k) // start:
            sieve[start // 2 : (end + 1) // 2] = bytes((end + 1) // 2 - start // 2)
        start = end + 1
    return result * marked_product(sieve, modulus) % modulus
