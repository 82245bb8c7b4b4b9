"""The text of rounded results."""

from __future__ import annotations

from typing import NamedTuple

from pycalc.services.operations.numbers.gmp import text_of

PLAIN_FROM = -6  # the smallest exponent of a number that is written in plain digits


class Rounded(NamedTuple):
    """The number ±d.ddd·10^``exponent``. ``digits`` is the integer dddd, which has as many digits as the precision."""

    negative: bool
    digits: int
    exponent: int

    def text(self) -> str:
        """Return the text, in plain digits or as ``d.ddde+123``, with all digits of the precision.

        Plain digits are used if they need at most five zeros between the point and the first digit, and none between
        the last digit and the point.
        """
        digits = text_of(self.digits)
        sign = "-" if self.negative else ""
        whole = self.exponent + 1
        if not PLAIN_FROM <= self.exponent < len(digits):
            point = f".{digits[1:]}" if len(digits) > 1 else ""
            return f"{sign}{digits[0]}{point}e{'+' if self.exponent >= 0 else '-'}{text_of(abs(self.exponent))}"
        if whole <= 0:
            return f"{sign}0.{'0' * -whole}{digits}"
        return sign + (digits if whole == len(digits) else f"{digits[:whole]}.{digits[whole:]}")
