"""Arithmetic modulo an integer, greatest common divisors, and random primes for the verification of results."""

from __future__ import annotations

import secrets
from typing import Any

from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.thresholds import Costs, seconds

PRIME_BITS = 61

# Seconds by the bits of the shorter operand; to these are added seconds for each bit of the longer operand.
_SECONDS: Costs = (
    (64, 5e-6), (1_000, 9e-6), (3_300, 2.2e-5), (10_000, 8e-5), (33_200, 5e-4), (332_000, 0.014), (3_320_000, 0.3),
)  # fmt: skip
_DIVISION_SECONDS_PER_BIT = 1e-10
# Seconds for a product and its text, by the bits of the product.
_TEXT_SECONDS: Costs = (
    (64, 5e-7), (1_000, 3e-6), (3_300, 9e-6), (10_000, 4e-5), (33_200, 2.4e-4), (332_000, 7e-3), (3_320_000, 0.13),
)  # fmt: skip


def random_prime() -> int:
    """Return an unpredictable prime of 61 bits: nobody can choose operands for which a wrong result passes."""
    while True:
        prime = int(gmp.next_prime(secrets.randbits(PRIME_BITS - 1) | 1 << (PRIME_BITS - 1)))
        if prime.bit_length() == PRIME_BITS:
            return prime


def fibonacci_residue(n: int, modulus: int) -> int:
    """Return F(``n``) modulo any ``modulus`` >= 1, from the Lucas numbers L(``n``) and L(``n`` + 1).

    5·F(n) = 2·L(n+1) - L(n) is computed modulo 5·``modulus``, so that the division by five is exact.
    """
    wide = 5 * modulus
    low, high = lucas_residues(n, wide)
    return int((2 * high - low) % wide // 5)


def lucas_residues(n: int, modulus: int) -> tuple[int, int]:
    """Return L(``n``) and L(``n`` + 1) modulo any ``modulus`` >= 1, from Lucas numbers alone.

    L(2k) = L(k)² - 2(-1)^k and L(2k+1) = L(k)·L(k+1) - (-1)^k.
    """
    wide = mpz(modulus) if modulus.bit_length() > 250 else modulus
    low, high = 2, 1
    odd = False
    for bit in f"{n:b}":
        sign = -1 if odd else 1
        middle = low * high - sign
        odd = bit == "1"
        if odd:
            low, high = middle % wide, (high * high + 2 * sign) % wide
        else:
            low, high = (low * low - 2 * sign) % wide, middle % wide
    return low % wide, high % wide


def gcd_seconds(a: int, b: int) -> float:
    """Estimate the seconds for the greatest common divisor of ``a`` and ``b``, on one core."""
    short, long = sorted((a.bit_length(), b.bit_length()))
    return seconds(_SECONDS, short) + long * _DIVISION_SECONDS_PER_BIT


def text_seconds(bits: int) -> float:
    """Estimate the seconds to compute a product of ``bits`` bits and to write its text, on one core."""
    return seconds(_TEXT_SECONDS, bits)


def are_coprime(a: Any, b: Any) -> bool:
    """Return whether ``a`` and ``b`` are coprime, proved by Bézout's identity: s·a + t·b = 1 for some s and t."""
    _, s, t = gmp.gcdext(a, b)
    return bool(s * a + t * b == 1)
