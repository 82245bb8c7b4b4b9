"""The exact form of x^y if it is rational, found without computing the value."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import NamedTuple

from pycalc.errors import DomainError
from pycalc.services.operations.numbers.gmp import exact_root, gmp, mpz
from pycalc.services.operations.numbers.literals import RationalLiteral, shortened

# The most factors 2, or 5, in the degree of a root. A root of a higher degree is irrational for every literal but 0, 1
# and -1, because a literal has at most 1,000,000 characters and an exponent of at most 10^18.
_LARGEST_ROOT = 34_000


class ExactPower(NamedTuple):
    """The number ``sign``·(2^``twos``·5^``fives``·``rest``/``below``)^``power``.

    ``rest`` and ``below`` are at least 1, and coprime to ten and to each other.
    """

    sign: int  # -1, 0 or 1
    twos: int  # may be negative, as ``fives`` and ``power``
    fives: int
    rest: int
    power: int
    below: int = 1


class Fraction(NamedTuple):
    """A fraction in lowest terms."""

    numerator: int
    twos: int  # the exponent of 2 in the denominator
    denominator: int | None  # None: too large for an exact root of any number but 0, 1 and -1


def exact_power(x: RationalLiteral, y: RationalLiteral) -> ExactPower | None:
    """Return ``x``^``y`` as an exact power, or None if it is irrational. Raises DomainError if it is not real."""
    if y.unscaled == 0:
        return ExactPower(1, 0, 0, 1, 0)
    if x.unscaled == 0:
        if y.unscaled < 0:
            raise DomainError("0 has no negative powers.")
        return ExactPower(0, 0, 0, 1, 1)
    sign = sign_of_power(x, y)
    if is_trivial(x):
        return ExactPower(sign, 0, 0, 1, 1)
    rest, twos = gmp.remove(mpz(abs(x.unscaled)), 2)
    rest, fives = gmp.remove(rest, 5)
    twos, fives, rest = int(twos) + x.exponent, int(fives) + x.exponent, int(rest)
    if y.is_integer:
        return ExactPower(sign, twos, fives, rest, y.unscaled * 10**y.exponent, x.denominator)
    fraction = fraction_of(y)
    degree = fraction.denominator
    if degree is None:
        return None
    above, below = exact_root(rest, degree), exact_root(x.denominator, degree)
    if twos % degree or fives % degree or above is None or below is None:
        return None
    return ExactPower(sign, twos // degree, fives // degree, above, fraction.numerator, below)


def is_trivial(x: RationalLiteral) -> bool:
    """Return whether ``x``, and so every power of it, is 0, 1 or -1."""
    return abs(x.unscaled) <= 1 and x.exponent == 0 and x.denominator == 1


@lru_cache(maxsize=256)
def fraction_of(y: RationalLiteral) -> Fraction:
    """Return a literal that is not an integer as a fraction in lowest terms."""
    twos = fives = max(-y.exponent, 0)
    numerator = y.unscaled * 10 ** max(y.exponent, 0)
    if numerator % 2 == 0:
        shared = min(twos, int(gmp.bit_scan1(abs(numerator))))
        numerator >>= shared
        twos -= shared
    elif numerator % 5 == 0:
        shared = min(fives, int(gmp.remove(mpz(abs(numerator)), 5)[1]))
        numerator = int(mpz(numerator) // mpz(5) ** shared)
        fives -= shared
    fits = max(twos, fives) <= _LARGEST_ROOT
    return Fraction(numerator, twos, (5**fives << twos) * y.denominator if fits else None)


def sign_of_power(x: RationalLiteral, y: RationalLiteral) -> int:
    """Return the sign of ``x``^``y``, 1 or -1, for x other than 0. Raises DomainError for an even root of x < 0."""
    if x.unscaled > 0:
        return 1
    if y.exponent >= 0:  # the denominator is odd
        return -1 if y.exponent == 0 and y.unscaled & 1 else 1
    fraction = fraction_of(y)
    if fraction.twos > 0:
        raise DomainError("A negative x has no real power whose exponent in lowest terms has an even denominator.")
    return -1 if fraction.numerator & 1 else 1


def in_positive_power(value: ExactPower) -> ExactPower:
    """Return the same number with ``power`` >= 0. For a negative ``power``, swap numerator and denominator."""
    if value.power >= 0:
        return value
    return ExactPower(value.sign, -value.twos, -value.fives, value.below, -value.power, value.rest)


def power_modulo(value: ExactPower, modulus: int) -> int:
    """Return the value modulo ``modulus``. Raises DomainError if its denominator has no inverse."""
    sign, twos, fives, rest, exponent, rest_below = in_positive_power(value)
    above = sign * _monomial(max(twos, 0), max(fives, 0), rest, exponent, modulus)
    below = _monomial(max(-twos, 0), max(-fives, 0), rest_below, exponent, modulus)
    if (divisor := gcd(below, modulus)) != 1:
        shown = shortened(divisor)
        raise DomainError(f"The result's denominator has no inverse for this modulus: both are multiples of {shown}.")
    return int(above * gmp.invert(below, modulus) % modulus) if modulus > 1 else 0


def _monomial(twos: int, fives: int, rest: int, exponent: int, modulus: int) -> int:
    if exponent == 0 or (twos == fives == 0 and rest == 1):
        return 1 % modulus
    base = gmp.powmod(2, twos, modulus) * gmp.powmod(5, fives, modulus) * rest
    return int(gmp.powmod(base, exponent, modulus))
