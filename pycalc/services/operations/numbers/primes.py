"""Primes: proofs of primality, prime factors, and the exponents of primes in factorials."""

from __future__ import annotations

from bisect import bisect_right
from itertools import compress
from math import inf, isqrt, prod
from typing import Any

from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.thresholds import Costs, seconds

_CHUNK = 8
_CLASSES = (1, 7, 11, 13, 17, 19, 23, 29)  # the residues modulo 30 of the primes above 5
_FACTORS = 32  # how many factors are multiplied before each reduction

_PRIMORIAL = gmp.primorial(10_000)
_SMALLEST_FACTORED = 1_000**2  # a smaller cofactor is a prime
_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
_PROVED_BY_BASES = 3_317_044_064_679_887_385_961_981  # no smaller composite number passes the strong tests to _BASES
_BASES_SECONDS = 6e-6
_EVEN_SECONDS = 5e-6
# Seconds of FLINT's proof for a prime, by its bits.
_PROOF_SECONDS: Costs = (
    (82, 7e-4), (128, 1.7e-3), (256, 0.0145), (512, 0.11), (768, 0.4), (1_024, 1.3), (1_500, 4.3), (2_000, 14.0),
    (3_000, 90.0),
)  # fmt: skip
# Seconds of the strong test to base 2, and of the verification by another test, by the bits of a composite number.
_TEST_SECONDS: Costs = ((64, 1e-5), (128, 1.3e-5), (1_000, 1.6e-4), (3_300, 0.013), (10_000, 0.2), (33_200, 4.2))
_LONGEST_TESTED = 40_000  # bits up to which an estimate runs the strong test itself
# Up to this many bits, the strong test takes no longer than the search for small factors.
_SHORTEST_SEARCHED = 1_000


def primes_up_to(limit: int) -> list[int]:
    """Return the primes from 2 to ``limit``."""
    return [2, *compress(range(1, limit + 1, 2), prime_sieve(limit))] if limit >= 2 else []


def prime_sieve(limit: int) -> bytearray:
    """Return one byte for each odd number up to ``limit``: 1 for a prime, otherwise 0 (the sieve of Eratosthenes)."""
    size = (limit + 1) // 2
    sieve = bytearray([1]) * size
    sieve[:1] = bytes(min(1, size))
    for p in range(3, isqrt(limit) + 1, 2):
        if sieve[p // 2]:
            start = p * p // 2
            sieve[start::p] = bytes(len(range(start, size, p)))
    return sieve


def marked_product(sieve: bytearray, modulus: int) -> int:
    """Return the product, modulo ``modulus``, of the odd numbers with a 1 in ``sieve``, except multiples of 3 and 5."""
    result = 1
    for first in _CLASSES:  # the numbers of other classes would cost time, because reading each makes an object
        marked = list(compress(range(first, 2 * len(sieve), 30), sieve[first // 2 :: 15]))
        for start in range(0, len(marked), _FACTORS):
            result = result * prod(marked[start : start + _FACTORS]) % modulus
    return result % modulus


def small_factors(n: int, limit: int = 1_000) -> tuple[list[tuple[int, int]], int]:
    """Return the prime factors of ``n`` up to ``limit`` with their exponents, in ascending order, and the cofactor."""
    rest, factors = mpz(n), []
    common = gmp.gcd(rest, gmp.primorial(limit))
    for prime in primes_up_to(limit) if common > 1 else ():
        if common % prime == 0:
            rest, exponent = gmp.remove(rest, prime)
            factors.append((prime, int(exponent)))
            common //= prime
            if common == 1:
                break
    return factors, int(rest)


def all_factors(n: int) -> list[tuple[int, int]]:
    """Return the prime factors of ``n`` with their exponents, by FLINT, which takes 70 ms to import."""
    import flint

    return [(int(prime), int(exponent)) for prime, exponent in flint.fmpz(n).factor()]


def coprime_part(n: int, product: Any) -> Any:
    """Return ``n`` without the prime factors that it shares with ``product``."""
    shared = gmp.gcd(n, product)
    while shared > 1:
        n //= shared
        shared = gmp.gcd(n, shared)
    return n


def totient(n: int) -> int:
    """Return Euler's φ(``n``) for n >= 1. FLINT factors the part of n without prime factors below 1,000."""
    factors, rest = small_factors(n)
    primes = [prime for prime, _ in factors]
    if 1 < rest < _SMALLEST_FACTORED:
        primes.append(rest)
    elif rest > 1:
        primes += [prime for prime, _ in all_factors(rest)]
    for prime in primes:
        n = n // prime * (prime - 1)
    return n


def factorial_exponent(n: int, prime: int, enough: float = inf) -> int:
    """Return the exponent of ``prime`` in n! (Legendre), or any lower number that is at least ``enough``."""
    exponent = 0
    while n and exponent < enough:
        n //= prime
        exponent += n
    return exponent


def factorial_factors(n: int) -> tuple[list[list[int]], int]:
    """Return lists of primes P[0], P[1], ... and t, such that n! = 10^t · product over i of (product of P[i])^(2^i).

    P[i] has the primes p for which bit i of the exponent of p in n!/10^t is 1.
    """
    zeros = factorial_exponent(n, 5)
    primes = [prime for prime in primes_up_to(n) if prime != 5]
    position = bisect_right(primes, isqrt(n))
    runs = [([prime], factorial_exponent(n, prime) - (zeros if prime == 2 else 0)) for prime in primes[:position]]
    while position < len(primes):
        # Above the square root the exponent is n // p, the same for a whole run of primes.
        exponent = n // primes[position]
        end = bisect_right(primes, n // exponent)
        runs.append((primes[position:end], exponent))
        position = end
    by_bit: list[list[int]] = [[] for _ in range(n.bit_length())]
    for run, exponent in runs:
        for bit, factors in enumerate(by_bit):
            if exponent >> bit & 1:
                factors.extend(run)
    return by_bit, zeros


def product(factors: list[int]) -> Any:
    """Return the product of ``factors`` as a GMP integer, multiplied in a balanced tree."""
    # Python multiplies blocks of factors, and GMP multiplies these.
    level = [mpz(prod(factors[start : start + _CHUNK])) for start in range(0, len(factors), _CHUNK)]
    while len(level) > 1:
        if len(level) % 2:
            level.append(mpz(1))
        level = [a * b for a, b in zip(level[::2], level[1::2], strict=True)]
    return level[0] if level else mpz(1)


def is_proved_prime(n: int) -> bool:
    """Return whether ``n`` is prime, proved by strong tests to 13 bases (Sorenson and Webster, 2015) or by FLINT."""
    if n < 2 or n in _BASES:
        return n >= 2
    if _has_small_factor(n) or not gmp.is_strong_prp(n, 2):  # nearly every composite number fails the test to base 2
        return False
    if n < _PROVED_BY_BASES:
        return all(gmp.is_strong_prp(n, base) for base in _BASES[1:])
    import flint  # this takes 70 ms; estimates for such numbers are high enough to keep them off the event loop

    return bool(flint.fmpz(n).is_prime())


def proof_seconds(n: int) -> float:
    """Estimate the total seconds of ``is_proved_prime(n)`` and of a second test that verifies its answer, on one core.

    This runs a strong test if ``n`` has up to 40,000 bits, which for 10,000 digits takes more than a second.
    """
    if n < 3 or _has_small_factor(n):
        return _EVEN_SECONDS
    test = seconds(_TEST_SECONDS, n.bit_length())
    probable = n.bit_length() <= _LONGEST_TESTED and gmp.is_strong_prp(n, 2)
    return test + prime_proof_seconds(n) if probable else test


def prime_proof_seconds(n: int) -> float:
    """Estimate the seconds to prove a prime as large as ``n`` on one core."""
    return _BASES_SECONDS if n < _PROVED_BY_BASES else seconds(_PROOF_SECONDS, n.bit_length())


def _has_small_factor(n: int) -> bool:
    """Return whether ``n`` is even, or has over 1,000 bits and a prime factor up to 10,000."""
    return not n % 2 or (n.bit_length() > _SHORTEST_SEARCHED and gmp.gcd(n, _PRIMORIAL) > 1)
