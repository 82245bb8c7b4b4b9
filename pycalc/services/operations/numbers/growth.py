"""The digit count of a large integer and its first and last digits, found without computing the integer."""

from __future__ import annotations

from collections.abc import Callable
from math import floor

from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic, settled
from pycalc.services.operations.numbers.texts import ENDS, Ends

_SURE_BELOW = 10**9
_MARGIN = 1e-4
LEADING_BITS = 160  # added to the precision for the first 20 digits

Logarithm = Callable[[IntervalArithmetic], Interval]


def digits_by_logarithm(approximate: float, logarithm: Logarithm, bits: int) -> int:
    """Return the number of digits of an integer >= 1 from its base-10 logarithm.

    ``approximate`` is the logarithm as a float, with an error below 1e-4 if it is below 10^9. If it does not decide,
    enclosures by ``logarithm`` with a precision of ``bits`` or more do. Raises ArithmeticError if none of them does.
    """
    if approximate < _SURE_BELOW and _MARGIN < approximate % 1 < 1 - _MARGIN:
        return floor(approximate) + 1
    return settled(lambda arithmetic: logarithm(arithmetic).leading(0), bits)[0] + 1


def ends_by_logarithm(logarithm: Logarithm, bits: int, last: int) -> Ends:
    """Return the ends of an integer of at least 10^19 from enclosures of its base-10 logarithm.

    A precision of ``bits`` should suffice to find the digit count. ``last`` is the integer modulo 10^20. Raises
    ArithmeticError if no enclosure determines the first digits.
    """
    power, leading = settled(lambda arithmetic: logarithm(arithmetic).leading(ENDS), bits + LEADING_BITS)
    return Ends(power + 1, leading, str(last).rjust(ENDS, "0"))
