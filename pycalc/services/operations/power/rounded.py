"""Irrational powers x^y, correctly rounded to a number of significant digits, and the verification of such values."""

from __future__ import annotations

import re

from pycalc.services.operations.numbers.gmp import int_of
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic, floor_of, nearest_of, settled
from pycalc.services.operations.numbers.literals import MAX_LITERAL, RationalLiteral
from pycalc.services.operations.numbers.texts import Rounded
from pycalc.services.operations.power.rational import sign_of_power

_FORM = re.compile(rb"-?([0-9]+)(?:\.([0-9]+))?(?:e([+-][0-9]+))?")
_SMALLEST_EXPONENT = -40_000


def rounded_power(x: RationalLiteral, y: RationalLiteral, precision: int) -> Rounded:
    """Return ``x``^``y``, which must be irrational, rounded to the nearest number of ``precision`` digits.

    Both ends of an enclosure of 10^(y·log10|x|) are rounded, at rising precisions until the results are equal (Ziv).
    """
    negative = sign_of_power(x, y) < 0

    def attempt(arithmetic: IntervalArithmetic) -> Rounded | None:
        log = _times(arithmetic, _significand(arithmetic, x).log10() + x.exponent, y)
        exponent = floor_of(log.low)
        mantissa = (log - exponent).exp10()
        low, high = (nearest_of(end, 10 ** (precision - 1)) for end in (mantissa.low, mantissa.high))
        if low != high:
            return None
        if low == 10**precision:
            return Rounded(negative, low // 10, exponent + 1)
        return Rounded(negative, low, exponent)

    return settled(attempt, _bits(x, y, precision))


def encloses(x: RationalLiteral, y: RationalLiteral, precision: int, text: bytes) -> bool:
    """Return whether ``text`` is ``x``^``y``, which must be irrational, rounded to ``precision`` digits.

    The natural logarithms of the bounds of all numbers that are rounded to ``text`` must enclose y·ln|x|.
    """
    candidate = _parsed(text, precision)
    if candidate is None or candidate.negative != (sign_of_power(x, y) < 0):
        return False
    # In hundredths of a unit of the last digit. Below a power of ten, numbers are ten times closer together.
    below = 5 if candidate.digits == 10 ** (precision - 1) else 50
    bounds = (100 * candidate.digits - below, 100 * candidate.digits + 50)

    def attempt(arithmetic: IntervalArithmetic) -> bool | None:
        ten = arithmetic.integer(10).log()
        target = _times(arithmetic, _significand(arithmetic, x).log() + ten * x.exponent, y)
        unit = ten * (candidate.exponent - precision - 1)
        low, high = (arithmetic.integer(bound).log() + unit for bound in bounds)
        if low.high < target.low and target.high < high.low:
            return True
        return False if target.high < low.low or high.high < target.low else None

    return settled(attempt, _bits(x, y, precision) + 64)


def _parsed(text: bytes, precision: int) -> Rounded | None:
    """Return the number of this precision that has exactly this text, or None if there is no such number."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    whole, fraction, power = (group.decode() for group in match.groups(b""))
    significant = (whole + fraction).lstrip("0")
    leading = len(whole) - 1 if whole != "0" else len(significant) - len(fraction) - 1
    candidate = Rounded(text.startswith(b"-"), int_of(significant or "0"), leading + int_of(power or "0"))
    return candidate if len(significant) == precision and candidate.text().encode() == text else None


def _bits(x: RationalLiteral, y: RationalLiteral, precision: int) -> int:
    """Return a first working precision: the bits of the logarithm's whole part, of the result's digits, and 64 more."""
    longest = max(x.unscaled.bit_length(), x.denominator.bit_length())
    magnitude = abs(x.exponent).bit_length() + longest.bit_length()
    magnitude += max(0, y.unscaled.bit_length() + y.exponent * 3322 // 1000)
    return magnitude + precision * 3322 // 1000 + 64


def _significand(arithmetic: IntervalArithmetic, x: RationalLiteral) -> Interval:
    """Return an enclosure of |``x``| / 10^``x.exponent``."""
    above = arithmetic.integer(abs(x.unscaled))
    return above if x.denominator == 1 else above / x.denominator


def _times(arithmetic: IntervalArithmetic, log: Interval, y: RationalLiteral) -> Interval:
    """Return an enclosure of ``log``·``y``."""
    if y.exponent >= _SMALLEST_EXPONENT:
        above: int = y.unscaled * 10 ** max(y.exponent, 0)
        below: int = y.denominator * 10 ** max(-y.exponent, 0)
        return log * above / below
    # |y| is below 10^-30,000. The enclosure from 0 to this bound changes no result at any accepted precision.
    zero = arithmetic.integer(0)
    bound = arithmetic.integer(1) / 10 ** (-_SMALLEST_EXPONENT - MAX_LITERAL)
    if y.unscaled > 0:
        return log * Interval(arithmetic, zero.low, bound.high)
    return log * Interval(arithmetic, -bound.high, zero.high)
