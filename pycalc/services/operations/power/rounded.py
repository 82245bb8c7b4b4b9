"""Irrational powers x^y, correctly rounded to a number of significant digits, and the verification of such values."""

from __future__ import annotations

import re

from pycalc.services.operations.numbers.gmp import int_of, text_of
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic, floor_of, nearest_of, settled
from pycalc.services.operations.numbers.literals import MAX_LITERAL, RationalLiteral
from pycalc.services.operations.numbers.rounded import PLAIN_FROM, Rounded

_SHORT = 20
_FORM = re.compile(rb"-?([0-9]+)(?:\.([0-9]+))?(?:e([+-][0-9]+))?")
_SMALLEST_EXPONENT = -40_000


def rounded_power(x: RationalLiteral, y: RationalLiteral, negative: bool, precision: int) -> Rounded:
    """Return ±|``x``|^``y``, which must be irrational, rounded to the nearest number of ``precision`` digits.

    The sign is a minus if ``negative``. Both ends of an enclosure of 10^(y·log10|x|) are rounded. The working precision
    is raised until the two results are equal (Ziv). They become equal, because an irrational value is never half-way
    between two decimals.
    """

    def attempt(arithmetic: IntervalArithmetic) -> Rounded | None:
        log = _logarithm(arithmetic, x, y)
        exponent = floor_of(log.low)
        mantissa = arithmetic.exp10(arithmetic.subtract(log, arithmetic.integer(exponent)))
        low, high = (nearest_of(end, 10 ** (precision - 1)) for end in mantissa)
        if low != high:
            return None
        if low == 10**precision:
            return Rounded(negative, low // 10, exponent + 1)
        return Rounded(negative, low, exponent)

    return settled(attempt, _bits(x, y, precision))


def rounded_digits(x: RationalLiteral, y: RationalLiteral, precision: int) -> int:
    """Return the exact number of digit characters in the rounded value's text.

    Rounding to 20 digits is enough, unless that gives a power of ten. Then only the full rounding decides the exponent.
    """
    short = min(precision, _SHORT)
    rounded = rounded_power(x, y, False, short)
    if rounded.digits == 10 ** (short - 1) and short < precision:
        rounded = rounded_power(x, y, False, precision)
    return precision - rounded.exponent if PLAIN_FROM <= rounded.exponent < 0 else precision


def encloses(x: RationalLiteral, y: RationalLiteral, negative: bool, precision: int, text: bytes) -> bool:
    """Return whether ``text`` is ±|``x``|^``y`` rounded to ``precision`` digits, with a minus if ``negative``.

    ln(text - half a unit) and ln(text + half a unit) must enclose y·ln|x|. This method is independent of
    ``rounded_power``: it takes natural logarithms of the candidate's bounds, and no exponential.
    """
    candidate = _parsed(text, negative, precision)
    if candidate is None:
        return False

    def attempt(arithmetic: IntervalArithmetic) -> bool | None:
        ten = arithmetic.log(arithmetic.integer(10))
        unit = arithmetic.multiply(ten, arithmetic.integer(candidate.exponent - precision - 1))
        target = _natural_logarithm(arithmetic, x, y, ten)
        low, high = (arithmetic.add(arithmetic.log(arithmetic.integer(bound)), unit) for bound in _bounds(candidate))
        if low.high < target.low and target.high < high.low:
            return True
        return False if target.high < low.low or high.high < target.low else None

    return settled(attempt, _bits(x, y, precision) + 64)


def _bounds(candidate: Rounded) -> tuple[int, int]:
    """Return the bounds of the values that round to the candidate, in hundredths of a unit of its last digit.

    The bounds are half a unit to either side. If the candidate is a power of ten, its lower bound is only a twentieth
    of a unit away, because numbers of ``precision`` digits below it are ten times closer together.
    """
    below = 5 if set(text_of(candidate.digits)[1:]) <= {"0"} and candidate.digits % 9 == 1 else 50
    return 100 * candidate.digits - below, 100 * candidate.digits + 50


def _parsed(text: bytes, negative: bool, precision: int) -> Rounded | None:
    """Return the number of this sign and precision that has exactly this text, or None if there is no such number."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    whole, fraction, power = (group.decode() for group in match.groups(b""))
    significant = (whole + fraction).lstrip("0")
    leading = len(whole) - 1 if whole != "0" else len(significant) - len(fraction) - 1
    candidate = Rounded(negative, int_of(significant or "0"), leading + int_of(power or "0"))
    return candidate if len(significant) == precision and candidate.text().encode() == text else None


def _bits(x: RationalLiteral, y: RationalLiteral, precision: int) -> int:
    """Return a first working precision: the bits of the logarithm's whole part, of the result's digits, and 64 more."""
    longest = max(x.unscaled.bit_length(), x.denominator.bit_length())
    magnitude = abs(x.exponent).bit_length() + longest.bit_length()
    magnitude += max(0, y.unscaled.bit_length() + y.exponent * 3322 // 1000)
    return magnitude + precision * 3322 // 1000 + 64


def _times(arithmetic: IntervalArithmetic, log: Interval, y: RationalLiteral) -> Interval:
    """Return ``log``·``y``.

    If the exponent of y is below -40,000, |y| is below 10^-30,000. Then y is replaced by the enclosure from 0 to this
    bound, which changes no result at any accepted precision.
    """
    if y.exponent >= _SMALLEST_EXPONENT:
        product = arithmetic.multiply(log, arithmetic.integer(y.unscaled * 10 ** max(y.exponent, 0)))
        return arithmetic.divide(product, arithmetic.integer(10 ** max(-y.exponent, 0) * y.denominator))
    bound = arithmetic.divide(arithmetic.integer(1), arithmetic.integer(10 ** (-_SMALLEST_EXPONENT - MAX_LITERAL)))
    zero = arithmetic.integer(0)
    enclosure = Interval(zero.low, bound.high) if y.unscaled > 0 else Interval(-bound.high, zero.high)
    return arithmetic.multiply(log, enclosure)


def _significand(arithmetic: IntervalArithmetic, x: RationalLiteral) -> Interval:
    """Return |x| without its power of ten."""
    above = arithmetic.integer(abs(x.unscaled))
    return above if x.denominator == 1 else arithmetic.divide(above, arithmetic.integer(x.denominator))


def _logarithm(arithmetic: IntervalArithmetic, x: RationalLiteral, y: RationalLiteral) -> Interval:
    """Return y·log10|x|."""
    log = arithmetic.log10(_significand(arithmetic, x))
    return _times(arithmetic, arithmetic.add(log, arithmetic.integer(x.exponent)), y)


def _natural_logarithm(
    arithmetic: IntervalArithmetic, x: RationalLiteral, y: RationalLiteral, ten: Interval
) -> Interval:
    """Return y·ln|x|, with ``ten`` = ln 10."""
    log = arithmetic.log(_significand(arithmetic, x))
    return _times(arithmetic, arithmetic.add(log, arithmetic.multiply(ten, arithmetic.integer(x.exponent))), y)
