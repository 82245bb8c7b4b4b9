"""Irrational values: enclosures by interval arithmetic (FLINT's arb), and their correct rounding."""

from __future__ import annotations

import operator
from typing import Any

import flint

from pycalc.services.operations.expressions.problems import too_large, undefined
from pycalc.services.operations.expressions.sizes import BITS_PER_DIGIT
from pycalc.services.operations.expressions.values import UndecidedError, Value, is_exact, is_whole
from pycalc.services.operations.numbers.gmp import mpz, text_of
from pycalc.services.operations.numbers.texts import Rounded

_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_HALF = flint.fmpq(1, 2)
_MOST_MAGNITUDE = 10_000_000  # bits before the point, or zero bits behind it
_GUARD_DIGITS = 10


def combined(sign: str, position: int, left: Value, right: Value, bits: int) -> Value:
    """Return an enclosure of ``left sign right``, for a sign among ``+ - * / ^``, of about ``bits`` bits.

    Raises UndecidedError if a divisor may be 0 or the sign of a power's base is unknown, DomainError for a power that
    is not real, and ResultTooLarge for a value that is too large or too close to 0.
    """
    with flint.ctx.workprec(bits):
        if sign == "^":
            found = _power(position, _enclosure(left), right)
        else:
            found = _OPERATORS[sign](_enclosure(left), _enclosure(right))
    if not found.is_finite():
        raise UndecidedError(position)
    if abs(magnitude(found)) > _MOST_MAGNITUDE:
        detail = (
            "A rounded part may have at most 3,010,300 digits before the decimal point, or zeros after it: bring this "
            "part closer to 1."
        )
        raise too_large(position, detail, _MOST_MAGNITUDE)
    return found


def whole_of(position: int, name: str, value: Value) -> Value:
    """Return the ``floor``, ``ceil`` or nearest integer (``round``) of an enclosed value. Raises UndecidedError."""
    with flint.ctx.workprec(max(0, magnitude(value)) + 64):
        found = value + _HALF if name == "round" else value
        whole = (found.ceil() if name == "ceil" else found.floor()).unique_fmpz()
    if whole is None:
        raise UndecidedError(position)
    return mpz(int(whole))


def rounded(position: int, value: Value, precision: int, bits: int) -> Rounded:
    """Return a value enclosed with ``bits`` bits, rounded to ``precision`` digits. Raises UndecidedError."""
    # A few digits decide, unless the value is close to a tie. To read all of them takes long.
    for digits in (precision + _GUARD_DIGITS, int(bits / BITS_PER_DIGIT)):
        middle, radius, exponent = (int(part) for part in value.mid_rad_10exp(digits))
        low, high = (_nearest(end, exponent, precision) for end in (middle - radius, middle + radius))
        if low is not None and low == high:
            return low
    raise UndecidedError(position)


def magnitude(value: Any) -> int:
    """Return the approximate number of bits before the point of an enclosed value; negative for a small fraction."""
    mantissa, exponent = value.mid().man_exp()
    return int(mantissa).bit_length() + int(exponent)


def _nearest(digits: int, exponent: int, precision: int) -> Rounded | None:
    """Return ``digits``·10^``exponent``, rounded to the nearest number of ``precision`` digits, or None for 0."""
    if not digits:
        return None
    size = len(text_of(abs(digits)))
    dropped = size - precision
    kept = abs(digits) * 10**-dropped if dropped <= 0 else (abs(digits) + 10**dropped // 2) // 10**dropped
    if kept == 10**precision:
        kept, size = kept // 10, size + 1
    return Rounded(digits < 0, kept, exponent + size - 1)


def _power(position: int, base: Any, exponent: Value) -> Any:
    if is_whole(exponent):
        return base ** flint.fmpz(int(exponent))
    if base.is_zero() and exponent > 0:
        return base
    if not base.contains(0):
        negative = base < 0
        if negative and not (is_exact(exponent) and exponent.denominator % 2):
            raise undefined(position, "This power of a negative number is not real.")
        size = abs(base) ** _enclosure(exponent)
        return -size if negative and exponent.numerator % 2 else size
    raise UndecidedError(position)


def _enclosure(value: Value) -> Any:
    if not is_exact(value):
        return value
    return flint.arb(flint.fmpq(int(value.numerator), int(value.denominator)))
