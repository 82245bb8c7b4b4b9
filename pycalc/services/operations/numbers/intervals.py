"""Interval arithmetic: enclosures of real numbers by MPFR's directed rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pycalc.services.operations.numbers.gmp import gmp, mpz

ResultT = TypeVar("ResultT")

_MAX_BITS = 4_000_000


class IntervalArithmetic:
    """MPFR's rounding contexts for intervals: a precision of ``bits``, and the whole range of exponents."""

    def __init__(self, bits: int) -> None:
        limits = {"precision": bits, "emin": gmp.get_emin_min(), "emax": gmp.get_emax_max()}
        self.bits = bits
        self.down = gmp.context(round=gmp.RoundDown, **limits)
        self.up = gmp.context(round=gmp.RoundUp, **limits)

    def integer(self, value: int) -> Interval:
        """Return an enclosure of an integer."""
        zero = gmp.mpfr(0)
        return Interval(self, self.down.add(mpz(value), zero), self.up.add(mpz(value), zero))

    def pi(self) -> Interval:
        return Interval(self, self.down.const_pi(), self.up.const_pi())


@dataclass(slots=True, eq=False)
class Interval:
    """An interval of MPFR numbers that encloses a real number. Operators and functions round outward."""

    arithmetic: IntervalArithmetic
    low: Any
    high: Any

    def __add__(self, other: Interval | int) -> Interval:
        arithmetic, right = self.arithmetic, self._interval(other)
        return Interval(arithmetic, arithmetic.down.add(self.low, right.low), arithmetic.up.add(self.high, right.high))

    def __sub__(self, other: Interval | int) -> Interval:
        arithmetic, right = self.arithmetic, self._interval(other)
        return Interval(arithmetic, arithmetic.down.sub(self.low, right.high), arithmetic.up.sub(self.high, right.low))

    def __mul__(self, other: Interval | int) -> Interval:
        return self._combined(other, self.arithmetic.down.mul, self.arithmetic.up.mul)

    def __truediv__(self, other: Interval | int) -> Interval:
        """Return the quotient. The divisor must be positive."""
        return self._combined(other, self.arithmetic.down.div, self.arithmetic.up.div)

    def _combined(self, other: Interval | int, down: Callable[..., Any], up: Callable[..., Any]) -> Interval:
        right = self._interval(other)
        pairs = [(x, y) for x in (self.low, self.high) for y in (right.low, right.high)]
        return Interval(self.arithmetic, min(down(x, y) for x, y in pairs), max(up(x, y) for x, y in pairs))

    def _interval(self, value: Interval | int) -> Interval:
        return value if isinstance(value, Interval) else self.arithmetic.integer(value)

    def sqrt(self) -> Interval:
        """Return the square root of a number that is 0 or more."""
        return Interval(self.arithmetic, self.arithmetic.down.sqrt(self.low), self.arithmetic.up.sqrt(self.high))

    def log(self) -> Interval:
        """Return the natural logarithm of a positive number."""
        return Interval(self.arithmetic, self.arithmetic.down.log(self.low), self.arithmetic.up.log(self.high))

    def log10(self) -> Interval:
        """Return the base-10 logarithm of a positive number."""
        return Interval(self.arithmetic, self.arithmetic.down.log10(self.low), self.arithmetic.up.log10(self.high))

    def exp10(self) -> Interval:
        """Return ten to the power of the number."""
        return Interval(self.arithmetic, self.arithmetic.down.exp10(self.low), self.arithmetic.up.exp10(self.high))

    def leading(self, count: int) -> tuple[int, str] | None:
        """Return the floor of this base-10 logarithm and its number's first digits, or None if it is too wide."""
        floor = floor_of(self.low)
        if floor_of(self.high) != floor:
            return None
        if count == 0:
            return floor, ""
        scaled = (self + (count - 1 - floor)).exp10()
        low, high = floor_of(scaled.low), floor_of(scaled.high)
        return (floor, str(low)) if low == high else None


def floor_of(value: Any) -> int:
    """Return the floor of an MPFR number."""
    return _shifted(*value.as_mantissa_exp())


def nearest_of(value: Any, factor: int) -> int:
    """Return the integer nearest to ``value``·``factor``. Halves are rounded up."""
    mantissa, exponent = value.as_mantissa_exp()
    return (_shifted(mantissa * factor, int(exponent) + 1) + 1) // 2


def settled(attempt: Callable[[IntervalArithmetic], ResultT | None], bits: int) -> ResultT:
    """Return the first result of ``attempt`` that is not None, at precisions that double from ``bits`` on (Ziv).

    Raises ArithmeticError if there is none at a very high precision.
    """
    limit = max(_MAX_BITS, 4 * bits)
    while bits < limit:
        result = attempt(IntervalArithmetic(bits))
        if result is not None:
            return result
        bits *= 2
    raise ArithmeticError("an enclosure could not be decided")


def _shifted(mantissa: Any, exponent: int) -> int:
    """Return the floor of ``mantissa``·2^``exponent``."""
    exponent = int(exponent)
    if exponent >= 0:
        return int(mantissa << exponent)
    return int(mantissa >> min(-exponent, mantissa.bit_length() + 1))  # a longer shift gives the same -1 or 0
