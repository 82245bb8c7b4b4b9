"""The text of an exact power: an integer, a terminating decimal or a fraction.

The number of digits, and the first and last of them, are found without the text.
"""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from typing import NamedTuple

from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.decimals import decimal_of, exact_context
from pycalc.services.operations.numbers.gmp import mpz
from pycalc.services.operations.numbers.growth import IntegerPower
from pycalc.services.operations.numbers.texts import Ends
from pycalc.services.operations.power.rational import ExactPower, in_positive_power


class Term(NamedTuple):
    """The number ``power``·10^``exponent``, an integer or a terminating decimal."""

    power: IntegerPower
    exponent: int

    def digits(self) -> int:
        """Return the number of digit characters in the term's text."""
        significant = self.power.digits()
        return significant + self.exponent if self.exponent >= 0 else max(significant, 1 - self.exponent)

    def ends(self) -> Ends:
        """Return the number of digit characters in the term's text, and the first and last of them."""
        ends = self.power.ends()
        if self.exponent >= 0:
            return ends.followed_by(Ends.zeros(self.exponent))
        return Ends.zeros(max(0, 1 - self.exponent - ends.digits)).followed_by(ends)

    def text(self) -> str:
        """Return the term in plain digits, with a point if it is not an integer.

        The last squarings of a large power are done in decimal, because decimals print faster.
        """
        base, exponent = self.power
        # log10(2) as 0.30103: the choice of arithmetic needs no exact digit count.
        size = base.bit_length() * exponent * 30_103 // 100_000
        levels = min((size // thresholds.POWER_SEED_DIGITS).bit_length(), exponent.bit_length() - 1)
        if self.power.is_one:
            digits = "1"
        elif size < thresholds.POWER_DECIMAL_DIGITS or levels == 0:
            digits = (mpz(base) ** exponent).digits()
        else:
            digits = str(power_decimal(base, exponent, levels))
        if self.exponent >= 0:
            return digits + "0" * self.exponent if self.exponent else digits
        places = -self.exponent
        if len(digits) > places:
            return f"{digits[:-places]}.{digits[-places:]}"
        return "0." + "0" * (places - len(digits)) + digits


class ExactText(NamedTuple):
    """A term, or the numerator and the denominator of a fraction in lowest terms, with a sign."""

    negative: bool
    terms: tuple[Term, ...]

    def ends(self) -> Ends:
        """Return the number of digit characters in the whole text, and the first and last of them."""
        return reduce(Ends.followed_by, [term.ends() for term in self.terms])

    def encode(self) -> bytes:
        """Return the text in ASCII."""
        text = "/".join([term.text() for term in self.terms])
        return (f"-{text}" if self.negative else text).encode()


def exact_text(value: ExactPower) -> ExactText:
    """Return an exact power as an integer or a terminating decimal if it is one, else as a fraction."""
    if value.sign == 0:
        return ExactText(False, (Term(IntegerPower(0, 1), 0),))
    sign, twos, fives, rest, power, below = in_positive_power(value)
    if below == 1:
        return ExactText(sign < 0, (_term(twos, fives, rest, power),))
    numerator = _term(max(twos, 0), max(fives, 0), rest, power)
    return ExactText(sign < 0, (numerator, _term(max(-twos, 0), max(-fives, 0), below, power)))


def power_decimal(base: int, exponent: int, levels: int) -> Decimal:
    """Return ``base``^``exponent``, with the last ``levels`` squarings done in decimal.

    ``levels`` must be at least 1, and ``exponent`` at least 2^``levels``.
    """
    context = exact_context()
    factor, result = decimal_of(base), decimal_of(mpz(base) ** (exponent >> levels))
    for bit in bin(exponent)[-levels:]:
        result = context.multiply(result, result)
        if bit == "1":
            result = context.multiply(result, factor)
    return result


def _term(twos: int, fives: int, rest: int, power: int) -> Term:
    tens = min(twos, fives)
    base = rest * (5 ** (fives - tens) << (twos - tens))
    return Term(IntegerPower(base, power if base > 1 else 0), tens * power)
