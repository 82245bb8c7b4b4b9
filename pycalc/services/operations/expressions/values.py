"""The values in an expression: GMP integers, GMP fractions that are not whole, and FLINT's enclosures (``arb``).

Enclosures occur only if a precision is given and a subexpression is irrational.
"""

from __future__ import annotations

from typing import Any

from pycalc.services.operations.numbers.gmp import gmp, mpz

# A GMP integer, a GMP fraction that is not whole, or an enclosure. At the top of a tree also the boolean of a
# comparison, or the text of a value that is no number.
Value = Any

_WHOLE = type(mpz(0))
_FRACTION = type(gmp.mpq(1, 2))
_EXACT = (_WHOLE, _FRACTION)


class UndecidedError(Exception):
    """An enclosure is infinite, or too wide to round or compare it. The argument is the position."""


def is_whole(value: Value) -> bool:
    """Return whether a value is an exact integer."""
    return isinstance(value, _WHOLE)


def is_exact(value: Value) -> bool:
    """Return whether a value is an exact integer or fraction, not an enclosure."""
    return isinstance(value, _EXACT)


def lowest(value: Value) -> Value:
    """Return ``value``, which must be exact, as an integer if it is whole."""
    return value.numerator if isinstance(value, _FRACTION) and value.denominator == 1 else value


def fraction(numerator: Value, denominator: Value) -> Value:
    """Return the quotient of two exact values. Raises ZeroDivisionError if the denominator is 0."""
    return lowest(gmp.mpq(numerator) / denominator)


def residue_of(value: Value, modulus: Value) -> Value:
    """Return an exact value modulo ``modulus``. Raises ZeroDivisionError if its denominator has no inverse."""
    if is_whole(value):
        return value % modulus
    return value.numerator * gmp.invert(value.denominator, modulus) % modulus if modulus > 1 else mpz(0)


def bits_of(value: Value) -> int:
    """Return the number of bits of an exact value: of its numerator and, if it is a fraction, also its denominator."""
    size: int = value.numerator.bit_length()
    return size if is_whole(value) else size + value.denominator.bit_length()


def text_of_value(value: Value) -> str:
    """Return the text of an exact value: digits, a terminating decimal, or ``p/q`` in lowest terms."""
    if is_whole(value):
        return str(value.digits())
    denominator = value.denominator
    twos = gmp.bit_scan1(denominator)
    rest, fives = gmp.remove(denominator >> twos, 5)
    if rest != 1:
        return f"{value.numerator.digits()}/{denominator.digits()}"
    places = max(twos, fives)
    scaled = value.numerator * mpz(5) ** (places - fives) << (places - twos)
    sign = "-" if scaled < 0 else ""
    digits = abs(scaled).digits().rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}"
