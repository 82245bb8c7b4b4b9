"""Arithmetic modulo an integer, and random primes for the verification of results."""

from __future__ import annotations

import secrets

from pycalc.services.operations.numbers.gmp import gmp, mpz

PRIME_BITS = 61


def random_prime() -> int:
    """Return a random prime of 61 bits.

    The prime is unpredictable, so that nobody can choose operands for which a wrong result passes its verification.
    """
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
