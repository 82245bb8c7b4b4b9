"""Interval arithmetic: enclosures of real numbers by MPFR's directed rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from pycalc.services.operations.numbers.gmp import gmp, mpz

ResultT = TypeVar("ResultT")

_MAX_BITS = 4_000_000


class Interval(NamedTuple):
    """An interval that encloses a real number; its bounds are MPFR numbers."""

    low: Any
    high: Any


class IntervalArithmetic:
    """Interval arithmetic with ``bits`` of precision and MPFR's whole range of exponents."""

    def __init__(self, bits: int) -> None:
        limits = {"precision": bits, "emin": gmp.get_emin_min(), "emax": gmp.get_emax_max()}
        self.bits = bits
        self._down = gmp.context(round=gmp.RoundDown, **limits)
        self._up = gmp.context(round=gmp.RoundUp, **limits)

    def integer(self, value: int) -> Interval:
        """Return an enclosure of an integer, rounded outward."""
        zero = gmp.mpfr(0)
        return Interval(self._down.add(mpz(value), zero), self._up.add(mpz(value), zero))

    def add(self, a: Interval, b: Interval) -> Interval:
        return Interval(self._down.add(a.low, b.low), self._up.add(a.high, b.high))

    def subtract(self, a: Interval, b: Interval) -> Interval:
        return Interval(self._down.sub(a.low, b.high), self._up.sub(a.high, b.low))

    def multiply(self, a: Interval, b: Interval) -> Interval:
        pairs = [(x, y) for x in a for y in b]
        return Interval(min(self._down.mul(x, y) for x, y in pairs), max(self._up.mul(x, y) for x, y in pairs))

    def divide(self, a: Interval, b: Interval) -> Interval:
        """Return the quotient. The divisor must be positive."""
        pairs = [(x, y) for x in a for y in b]
        return Interval(min(self._down.div(x, y) for x, y in pairs), max(self._up.div(x, y) for x, y in pairs))

    def sqrt(self, a: Interval) -> Interval:
        """Return the square root of a number that is 0 or more."""
        return Interval(self._down.sqrt(a.low), self._up.sqrt(a.high))

    def log(self, a: Interval) -> Interval:
        """Return the natural logarithm of a positive number."""
        return Interval(self._down.log(a.low), self._up.log(a.high))

    def log10(self, a: Interval) -> Interval:
        """Return the base-10 logarithm of a positive number."""
        return Interval(self._down.log10(a.low), self._up.log10(a.high))

    def exp10(self, a: Interval) -> Interval:
        """Return ten to the power of an enclosed number."""
        return Interval(self._down.exp10(a.low), self._up.exp10(a.high))

    def pi(self) -> Interval:
        return Interval(self._down.const_pi(), self._up.const_pi())

    def leading(self, log: Interval, count: int) -> tuple[int, str] | None:
        """Return the floor of a base-10 logarithm, and the first ``count`` digits of the number with this logarithm.

        Return None if the enclosure does not determine both.
        """
        floor = floor_of(log.low)
        if floor_of(log.high) != floor:
            return None
        if count == 0:
            return floor, ""
        scaled = self.exp10(self.add(log, self.integer(count - 1 - floor)))
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
    """Return the first result of ``attempt`` that is not None.

    After each None, double the precision, from ``bits`` on (Ziv). Raises ArithmeticError if there is none below
    4,000,000 bits.
    """
    while bits < _MAX_BITS:
        result = attempt(IntervalArithmetic(bits))
        if result is not None:
            return result
        bits *= 2
    raise ArithmeticError("an enclosure could not be decided")


def _shifted(mantissa: Any, exponent: int) -> int:
    exponent = int(exponent)
    if exponent >= 0:
        return int(mantissa << exponent)
    if -exponent > mantissa.bit_length():
        return -1 if mantissa < 0 else 0
    return int(mantissa >> -exponent)
