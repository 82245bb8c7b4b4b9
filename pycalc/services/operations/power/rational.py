"""The exact form of x^y when it is rational, found without computing the value."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import NamedTuple

from pycalc.errors import DomainError
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.literals import DecimalLiteral

# Beyond 2^34,000 no root of a literal (at most 10,000 digits, exponent at most 10^18) is exact but that of ±1.
_LARGEST_ROOT = 34_000


class ExactPower(NamedTuple):
    """The number ``sign``·(2^``twos``·5^``fives``·``rest``)^``power``.

    ``sign`` is -1, 0 or 1, and ``rest`` >= 1 is coprime to ten. The others may be negative.
    """

    sign: int
    twos: int
    fives: int
    rest: int
    power: int


class Fraction(NamedTuple):
    """The fraction a / (2^``twos``·5^``fives``) in lowest terms; ``denominator`` is None where it is too large."""

    numerator: int
    twos: int
    fives: int
    denominator: int | None


def exact_power(x: DecimalLiteral, y: DecimalLiteral) -> ExactPower | None:
    """Return ``x``^``y`` as an exact power, or None where it is irrational; DomainError where it has no real value.

    A power with an exponent a/b in lowest terms is rational just where the prime factorization of x is a b-th power.
    """
    if y.unscaled == 0:
        return ExactPower(1, 0, 0, 1, 0)
    if x.unscaled == 0:
        if y.unscaled < 0:
            raise DomainError("0 has no negative powers.")
        return ExactPower(0, 0, 0, 1, 1)
    sign = sign_of_power(x, y)
    if abs(x.unscaled) == 1 and x.exponent == 0:
        return ExactPower(sign, 0, 0, 1, 1)
    twos, fives, rest = _factors(x)
    if y.is_integer:
        return ExactPower(sign, twos, fives, rest, y.unscaled * 10**y.exponent)
    fraction = fraction_of(y)
    if fraction.denominator is None:
        return None
    root = _root(twos, fives, rest, fraction.denominator)
    return None if root is None else ExactPower(sign, *root, fraction.numerator)


@lru_cache(maxsize=256)
def fraction_of(y: DecimalLiteral) -> Fraction:
    """Return a literal that is no integer, as a fraction in lowest terms."""
    twos = fives = -y.exponent
    numerator = y.unscaled
    if numerator % 2 == 0:
        shared = min(twos, int(gmp.bit_scan1(abs(numerator))))
        numerator >>= shared
        twos -= shared
    elif numerator % 5 == 0:
        shared = min(fives, int(gmp.remove(mpz(abs(numerator)), 5)[1]))
        numerator = int(mpz(numerator) // mpz(5) ** shared)
        fives -= shared
    fits = max(twos, fives) <= _LARGEST_ROOT
    return Fraction(numerator, twos, fives, (5**fives << twos) if fits else None)


def sign_of_power(x: DecimalLiteral, y: DecimalLiteral) -> int:
    """Return 1 or -1 for ``x`` other than zero; DomainError where a negative ``x`` would need an even root.

    An odd root of a negative number is real: (-32)^0.2 = -2.
    """
    if x.unscaled > 0:
        return 1
    if y.is_integer:
        return -1 if y.exponent == 0 and y.unscaled & 1 else 1
    fraction = fraction_of(y)
    if fraction.twos > 0:
        raise DomainError("A negative x has no real power whose exponent in lowest terms has an even denominator.")
    return -1 if fraction.numerator & 1 else 1


def _factors(x: DecimalLiteral) -> tuple[int, int, int]:
    rest, twos = gmp.remove(mpz(abs(x.unscaled)), 2)
    rest, fives = gmp.remove(rest, 5)
    return int(twos) + x.exponent, int(fives) + x.exponent, int(rest)


def _root(twos: int, fives: int, rest: int, degree: int) -> tuple[int, int, int] | None:
    if twos % degree or fives % degree:
        return None
    if rest == 1:
        return twos // degree, fives // degree, 1
    if degree >= rest.bit_length():
        return None
    root, exact = gmp.iroot(mpz(rest), degree)
    return (twos // degree, fives // degree, int(root)) if exact else None


def denominator_and_numerator(value: ExactPower) -> tuple[int, int, int, int, int, int]:
    """Return the exponents of 2, 5 and ``rest`` in the numerator, then in the denominator."""
    forward = value.power >= 0
    twos, fives = (value.twos, value.fives) if forward else (-value.twos, -value.fives)
    above, below = (1, 0) if forward else (0, 1)
    return max(twos, 0), max(fives, 0), above, max(-twos, 0), max(-fives, 0), below


def power_modulo(value: ExactPower, modulus: int) -> int:
    """Return the value modulo ``modulus``; raises DomainError where its denominator has no inverse."""
    exponent = abs(value.power)
    twos, fives, rest, twos_below, fives_below, rest_below = denominator_and_numerator(value)
    above = value.sign * _monomial(twos, fives, value.rest**rest, exponent, modulus)
    below = _monomial(twos_below, fives_below, value.rest**rest_below, exponent, modulus)
    if gcd(below, modulus) != 1:
        raise DomainError("The denominator of the result has no inverse for this modulus.")
    return int(above * gmp.invert(below, modulus) % modulus) if modulus > 1 else 0


def _monomial(twos: int, fives: int, rest: int, exponent: int, modulus: int) -> int:
    if exponent == 0:
        return 1 % modulus
    base = gmp.powmod(2, twos, modulus) * gmp.powmod(5, fives, modulus) * rest
    return int(gmp.powmod(base, exponent, modulus))
