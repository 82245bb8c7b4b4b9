"""Binomial coefficients modulo powers of primes (Granville: Arithmetic properties of binomial coefficients, 1997)."""

from __future__ import annotations

from itertools import count, pairwise
from math import log, log2

from pycalc.services.operations.factorial.residue import factorial_residue_seconds, factorial_residues
from pycalc.services.operations.numbers.texts import inverse

_SECONDS_PER_STEP = 1.8e-7  # for a multiplication of two coefficients, with a short modulus
_BITS = 700  # the bits of a modulus for which a step takes twice as long


def carries(n: int, k: int, prime: int) -> int:
    """Return how often a prime divides n over k: the carries when k and n - k are added in base ``prime`` (Kummer)."""
    rest, total = n - k, 0
    while n:
        n, k, rest = n // prime, k // prime, rest // prime
        total += n - k - rest
    return total


def modulo_prime(n: int, k: int, prime: int) -> int:
    """Return n over k modulo a prime that does not divide n over k, digit by digit in base ``prime`` (Lucas)."""
    result = 1
    while k:
        n, upper = divmod(n, prime)
        k, lower = divmod(k, prime)
        above, *below = factorial_residues((upper, lower, upper - lower), prime)
        result = result * above * inverse(below[0] * below[1], prime) % prime
    return result


def modulo_prime_seconds(n: int, prime: int) -> float:
    """Estimate the seconds of ``modulo_prime`` on one core."""
    digits = max(1.0, log(n + 1) / log(prime))
    return digits * (2e-6 + 1e-9 * n.bit_length() + factorial_residue_seconds(min(n, prime)))


def modulo_prime_power(n: int, k: int, prime: int, exponent: int) -> int:
    """Return n over k modulo ``prime``^``exponent``. m! without its factors p is U(m)·U(m//p)·U(m//p²)... of _Units."""
    modulus: int = prime**exponent
    units = _Units(prime, exponent, n)
    above: int = prime ** carries(n, k, prime)
    below = 1
    rest = n - k
    while n:
        above = above * units.product(n) % modulus
        below = below * units.product(k) * units.product(rest) % modulus
        n, k, rest = n // prime, k // prime, rest // prime
    return int(above * inverse(below, modulus) % modulus)


def modulo_prime_power_seconds(n: int, prime: int, exponent: int) -> float:
    """Estimate the seconds of ``modulo_prime_power`` on one core."""
    digits = max(1, int(log(n + 1) / log(prime)))
    longest = exponent.bit_length()  # prime^longest exceeds the exponent
    # A polynomial's degree is below prime^level, and only the first exponent/level coefficients matter.
    levels = range(1, min(digits, exponent) + 1)
    terms: list[int] = [min(-(-exponent // level), prime ** min(level, longest)) for level in levels]
    products = exponent + sum((a * a + b * b) / 2 for a, b in pairwise(terms))
    values = 3 * (digits + 1) / 2 * sum(terms) / 2
    wide = 1 + exponent * log2(prime) / _BITS
    return 1e-5 + _SECONDS_PER_STEP * prime * (products + values) * wide


class _Units:
    """Products, modulo a power of ``prime``, of the numbers up to some n <= ``largest`` that ``prime`` does not divide.

    For each level 1, 2, ..., the product of (x + i) over the i < prime^level that the prime does not divide is a
    polynomial in x. If x is a multiple of prime^level, only the first exponent/level coefficients (rounded up) matter.
    The polynomial of the next level is a product of shifted copies.
    """

    def __init__(self, prime: int, exponent: int, largest: int) -> None:
        self._prime = prime
        self._modulus = prime**exponent
        polynomial = [1]
        for number in range(1, prime):
            polynomial = self._multiplied(polynomial, [number, 1], exponent)
        self._blocks = [polynomial]
        for level in count(2):
            block = prime ** (level - 1)
            if level > exponent or block * prime > largest:
                break
            terms = -(-exponent // level)
            product = [1]
            for index in range(prime):
                product = self._multiplied(product, self._shifted(polynomial, index * block)[:terms], terms)
            polynomial = product
            self._blocks.append(polynomial)

    def product(self, n: int) -> int:
        """Return the product of the numbers up to ``n`` that the prime does not divide, modulo the prime's power."""
        modulus, result, done = self._modulus, 1, 0
        for level in range(len(self._blocks), 0, -1):
            polynomial, block = self._blocks[level - 1], self._prime**level
            times = (n - done) // block
            if len(polynomial) == 1:
                result = result * pow(polynomial[0], times, modulus) % modulus
                done += times * block
                continue
            for _ in range(times):
                value = 0
                for coefficient in reversed(polynomial):
                    value = (value * done + coefficient) % modulus
                result = result * value % modulus
                done += block
        for number in range(done + 1, n + 1):
            result = result * number % modulus
        return result

    def _multiplied(self, a: list[int], b: list[int], terms: int) -> list[int]:
        result = [0] * min(len(a) + len(b) - 1, terms)
        for i, x in enumerate(a[:terms]):
            for j, y in enumerate(b[: terms - i], i):
                result[j] += x * y
        return [coefficient % self._modulus for coefficient in result]

    def _shifted(self, polynomial: list[int], by: int) -> list[int]:
        """Return the polynomial after replacing x by x + ``by``, by Horner's rule."""
        result = polynomial.copy()
        for start in range(len(result) - 1):
            for index in range(len(result) - 2, start - 1, -1):
                result[index] = (result[index] + by * result[index + 1]) % self._modulus
        return result
