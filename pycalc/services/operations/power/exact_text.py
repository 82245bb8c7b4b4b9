"""The text of an exact power, an integer, a terminating decimal or a fraction, and its ends without the text."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from math import log10
from typing import NamedTuple

from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.decimals import decimal_of, exact_context
from pycalc.services.operations.numbers.gmp import mpz
from pycalc.services.operations.numbers.growth import LEADING_BITS, digits_by_logarithm, ends_by_logarithm
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.texts import ENDS, Ends
from pycalc.services.operations.power.rational import ExactPower, in_positive_power

_LONG_BASE_BITS = 400
_SHORT_BITS = 4_000
# Bits up to which a power of a long base is computed: it may be too close to a power of ten to use its logarithm.
_SHORT_BITS_OF_LONG_BASE = 100_000


class Term(NamedTuple):
    """The integer or terminating decimal ``base``^``power``·10^``exponent``, which is computed only if it is short.

    ``base`` is at least 1 and not a multiple of ten, ``power`` at least 0, and 0 if ``base`` is 1. 0 is 0^1.
    """

    base: int
    power: int
    exponent: int

    def sizes(self) -> tuple[int, int]:
        """Return the exact numbers of digits of ``base``^``power``, and of digit characters in the term's text."""
        if (text := self._short_text()) is not None:
            digits = len(text)
        else:
            approximate = log10(self.base) * self.power if self.power < 10**9 else 1e9
            digits = digits_by_logarithm(approximate, self._logarithm, self._bits())
        return digits, digits + self.exponent if self.exponent >= 0 else max(digits, 1 - self.exponent)

    def ends(self) -> Ends:
        """Return the number of digit characters in the term's text, and the first and last of them."""
        if (text := self._short_text()) is not None:
            ends = Ends.of_text(text)
        else:
            ends = ends_by_logarithm(self._logarithm, self._bits(), pow(self.base, self.power, 10**ENDS))
        if self.exponent >= 0:
            return ends.followed_by(Ends.zeros(self.exponent))
        return Ends.zeros(max(0, 1 - self.exponent - ends.digits)).followed_by(ends)

    def ends_seconds(self) -> float:
        """Estimate the seconds of ``ends`` on one core, within a factor of about two."""
        if (text := self._short_text()) is not None:
            return thresholds.seconds(thresholds.POWER_SECONDS, len(text))
        return thresholds.seconds(thresholds.POWER_SUMMARY_SECONDS, self._bits() + LEADING_BITS)

    def text(self) -> str:
        """Return the term in plain digits, with a point if it is not an integer."""
        # log10(2) as 0.30103: the choice of arithmetic needs no exact digit count.
        size = self.base.bit_length() * self.power * 30_103 // 100_000
        levels = min((size // thresholds.POWER_SEED_DIGITS).bit_length(), self.power.bit_length() - 1)
        if size < thresholds.POWER_DECIMAL_DIGITS or levels == 0:
            digits: str = (mpz(self.base) ** self.power).digits()
        else:
            digits = str(power_decimal(self.base, self.power, levels))
        if self.exponent >= 0:
            return digits + "0" * self.exponent
        places = -self.exponent
        if len(digits) > places:
            return f"{digits[:-places]}.{digits[-places:]}"
        return "0." + "0" * (places - len(digits)) + digits

    def _short_text(self) -> str | None:
        """Return the digits of ``base``^``power`` if it is short, or None."""
        size = self.base.bit_length()
        limit = _SHORT_BITS_OF_LONG_BASE if size > _LONG_BASE_BITS else _SHORT_BITS
        return str((mpz(self.base) ** self.power).digits()) if size * self.power < limit else None

    def _logarithm(self, arithmetic: IntervalArithmetic) -> Interval:
        return arithmetic.integer(self.base).log10() * self.power

    def _bits(self) -> int:
        """Return a precision at which the logarithm of nearly every power determines the number of digits."""
        size = self.base.bit_length()
        return self.power.bit_length() + (size if size > _LONG_BASE_BITS else size.bit_length()) + 60


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
        return ExactText(False, (Term(0, 1, 0),))
    sign, twos, fives, rest, power, below = in_positive_power(value)
    if below == 1:
        return ExactText(sign < 0, (_term(twos, fives, rest, power),))
    numerator = _term(max(twos, 0), max(fives, 0), rest, power)
    return ExactText(sign < 0, (numerator, _term(max(-twos, 0), max(-fives, 0), below, power)))


def power_decimal(base: int, exponent: int, levels: int) -> Decimal:
    """Return ``base``^``exponent``, at least 2^``levels``, with the last ``levels`` >= 1 squarings done in decimal."""
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
    return Term(base, power if base > 1 else 0, tens * power)
