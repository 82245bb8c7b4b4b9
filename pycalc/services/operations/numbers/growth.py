"""The digit count of a large integer and its first and last digits, found without computing the integer."""

from __future__ import annotations

from collections.abc import Callable
from math import floor, log10
from typing import NamedTuple

from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.gmp import mpz
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic, settled
from pycalc.services.operations.numbers.texts import ENDS, Ends

_SURE_BELOW = 10**9
_MARGIN = 1e-4
_LONG_BASE_BITS = 400
_SHORT_BITS = 4_000
# Bits up to which a power of a long base is computed: it may be too close to a power of ten to use its logarithm.
_SHORT_BITS_OF_LONG_BASE = 100_000

Logarithm = Callable[[IntervalArithmetic], Interval]


def digits_by_logarithm(approximate: float, logarithm: Logarithm, bits: int) -> int:
    """Return the number of digits of an integer >= 1 from its base-10 logarithm.

    ``approximate`` is the logarithm as a float. Below 10^9, its error must be below 1e-4. If the float is larger, or
    too near to an integer, ``logarithm`` is called with a precision of ``bits`` or more. It must return an enclosure of
    the logarithm. Raises ArithmeticError if no enclosure determines the number of digits.
    """
    if approximate < _SURE_BELOW and _MARGIN < approximate % 1 < 1 - _MARGIN:
        return floor(approximate) + 1
    return settled(lambda arithmetic: logarithm(arithmetic).leading(0), bits)[0] + 1


def ends_by_logarithm(logarithm: Logarithm, bits: int, last: int) -> Ends:
    """Return the digit count, and the first and last 20 digits, of an integer of at least 10^19.

    ``logarithm`` must return an enclosure of the integer's base-10 logarithm. A precision of ``bits`` should suffice
    to find the digit count; for the first 20 digits, 160 bits are added. ``last`` is the integer modulo 10^20. Raises
    ArithmeticError if no enclosure determines the first digits.
    """
    power, leading = settled(lambda arithmetic: logarithm(arithmetic).leading(ENDS), bits + 40 * 4)
    return Ends(power + 1, leading, str(last).rjust(ENDS, "0"))


class IntegerPower(NamedTuple):
    """The power ``base``^``exponent``, which is computed only if it is short.

    ``base`` is at least 1 and not a multiple of ten, and ``exponent`` is at least 0. The exception is 0, which is
    represented as 0^1.
    """

    base: int
    exponent: int

    @property
    def is_one(self) -> bool:
        """Return whether the power is 1."""
        return self.base == 1 or self.exponent == 0

    def _short_text(self) -> str | None:
        """Return the digits of a short power, or None if the power is long."""
        if self.is_one:
            return "1"
        size = self.base.bit_length()
        limit = _SHORT_BITS_OF_LONG_BASE if size > _LONG_BASE_BITS else _SHORT_BITS
        return str((mpz(self.base) ** self.exponent).digits()) if size * self.exponent < limit else None

    def _logarithm(self, arithmetic: IntervalArithmetic) -> Interval:
        return arithmetic.integer(self.base).log10() * self.exponent

    def _bits(self) -> int:
        """Return a precision in bits at which the logarithm of nearly every power determines the number of digits."""
        size = self.base.bit_length()
        return self.exponent.bit_length() + (size if size > _LONG_BASE_BITS else size.bit_length()) + 60

    def digits(self) -> int:
        """Return the exact number of digits of the power."""
        if (text := self._short_text()) is not None:
            return len(text)
        approximate = log10(self.base) * self.exponent if self.exponent < _SURE_BELOW else float(_SURE_BELOW)
        return digits_by_logarithm(approximate, self._logarithm, self._bits())

    def ends_seconds(self) -> float:
        """Estimate the seconds of ``ends`` on one core, within a factor of about two."""
        if (text := self._short_text()) is not None:
            return thresholds.seconds(thresholds.POWER_SECONDS, len(text))
        return thresholds.seconds(thresholds.POWER_SUMMARY_SECONDS, self._bits() + 160)

    def ends(self) -> Ends:
        """Return the power's number of digits, and its first and last digits."""
        if (text := self._short_text()) is not None:
            return Ends.of_text(text)
        return ends_by_logarithm(self._logarithm, self._bits(), pow(self.base, self.exponent, 10**ENDS))
