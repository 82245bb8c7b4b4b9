"""Binomial coefficients modulo a number, from the prime factors of the coefficients."""

from __future__ import annotations

from math import isqrt

from pycalc.services.operations.factorial.residue import factorial_residue_seconds
from pycalc.services.operations.numbers.primes import factorial_exponent, marked_product, prime_sieve, primes_up_to
from pycalc.services.operations.numbers.thresholds import Costs, seconds

LARGEST_SIEVED = 500_000  # above about this n, a quotient of factorials is faster
_LARGEST_RATIO = 30  # above about this ratio of n to k, multiplying the factors of numerator and denominator is faster
_SECONDS: Costs = ((500, 4e-5), (3_400, 1.1e-4), (3.3e4, 5e-4), (3.3e5, 3.4e-3))
_LARGEST_SMALL = 7  # ``marked_product`` leaves out the primes below 7


def is_sieved(n: int, k: int) -> bool:
    """Return whether a sieve of primes is the fastest way to a residue of n over ``k``, for k <= n/2."""
    return n <= min(LARGEST_SIEVED, _LARGEST_RATIO * k)


def binomial_residue_seconds(n: int, k: int) -> float:
    """Estimate the seconds for n over ``k`` modulo a prime of 61 bits, by a sieve or by factorials, on one core."""
    return seconds(_SECONDS, n) if is_sieved(n, k) else factorial_residue_seconds(n)


def sieved_residue(n: int, k: int, modulus: int) -> int:
    """Return n over ``k``, for 0 <= k <= n, modulo any ``modulus``, by Legendre's formula for the exponents of primes.

    A prime p above the square root of n has the exponent n//p - k//p - (n - k)//p, which is 0 or 1. This is the same
    for all primes in a range where none of the three quotients changes.
    """
    terms = (n, k, n - k)
    start = max(isqrt(n) + 1, _LARGEST_SMALL)
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
