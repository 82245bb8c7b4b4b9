"""Sizes of values before these are computed, arithmetic on sizes, and how a size decides the way of computing."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from enum import IntEnum
from math import inf, log2
from typing import NamedTuple

from pycalc.services.operations.expressions.problems import too_large
from pycalc.services.operations.expressions.values import Value, fraction, is_whole, lowest
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.primes import coprime_part

FOLDED_BITS = 4_096  # values up to this size are computed while planning
MOST_DIRECT_BITS = 4_096  # the left side of ``%`` is computed in full up to this size
# In a residue, an exponent of more bits is reduced by Euler's theorem, if the modulus is short enough to be factored.
EULER_BITS = 65_536
MOST_EULER_MODULUS_BITS = 128
MOST_EXPONENT_BITS = 1 << 24  # about 5,050,445 digits
MARGIN = 1 + 1e-9  # a factor that covers the error of a logarithm
BITS_PER_DIGIT = 3.32192809488737
_SMALL_PRIMES = gmp.primorial(1_000)


class Enclosed(IntEnum):
    """A forecast of whether a value will be an enclosure, that is, an interval around an irrational number."""

    NO = 0
    MAYBE = 1
    YES = 2


class Size(NamedTuple):
    """An estimate of a value p/q before it is computed: bounds of the value itself, and of the lengths of p and q."""

    low: Value  # a lower bound of the value; None if it is unknown or too long to be kept
    high: Value  # an upper bound of the value; None if ``low`` is None
    bits: float  # at least the bits of p
    places: float = 0.0  # at least the bits of q; 0 if the value is certainly an integer
    least: float = -inf  # the value is at least 2^``least``; -inf if it may be 0 or negative
    rounded: Enclosed = Enclosed.NO  # whether the value is an enclosure

    @property
    def value(self) -> Value:
        """Return the value if it is known, otherwise None."""
        return self.low if self.low is not None and self.low == self.high else None

    @property
    def residue(self) -> Size:
        """Return the size of a residue modulo a number of this size."""
        low, high = (None, None) if self.high is None else (mpz(0), max(mpz(0), self.high // 1))
        return Size(low, high, self.bits)

    def plus(self, other: Size) -> Size:
        """Return the size of the sum."""
        low, high = _corners(self, other, operator.add)
        small, large = sorted((self.bits + other.places, other.bits + self.places))
        bits = large if large == inf else large + log2(1 + 2.0 ** (small - large))
        least = max(self.least, other.least) if min(self.least, other.least) > -inf else -inf
        return Size(low, high, bits * MARGIN, self.places + other.places, least, rounded_of(self, other))

    def minus(self, other: Size) -> Size:
        """Return the size of the difference."""
        least = self.least - 1 if self.least > other.bits + 1 and self.least < inf else -inf
        return self.plus(other.negated())._replace(least=least)

    def times(self, other: Size) -> Size:
        """Return the size of the product."""
        low, high = _corners(self, other, operator.mul)
        least = self.least + other.least if min(self.least, other.least) > -inf else -inf
        return Size(low, high, self.bits + other.bits, self.places + other.places, least, rounded_of(self, other))

    def over(self, other: Size) -> Size:
        """Return the size of the quotient."""
        low = high = None
        if other.low is not None and (other.low > 0 or other.high < 0):
            low, high = _corners(self, other, fraction)
        places = max(1.0, self.places + other.bits)
        return Size(low, high, self.bits + other.places, places, rounded=rounded_of(self, other))

    def over_whole(self, other: Size) -> Size:
        """Return the size of the quotient, rounded down."""
        size = self.over(other).whole()
        if self.places or other.least == -inf:
            return size
        if self.bits < other.least:
            return Size(mpz(-1), mpz(0), 1)
        return size._replace(bits=min(size.bits, (self.bits - other.least) * MARGIN + 1))

    def modulo(self, other: Size) -> Size:
        """Return the size of the remainder."""
        low, high = (mpz(0), other.high) if other.low is not None and other.low > 0 else (None, None)
        bits, places = other.bits + self.places, self.places + other.places
        return Size(low, high, bits, places, rounded=rounded_of(self, other))

    def power(self, exponent: Size) -> Size:
        """Return the size of the power with this base."""
        if self.value is not None and abs(self.value) in (0, 1):
            return Size(mpz(-1), mpz(1), 1, 0 if exponent.value is None or exponent.value >= 0 else 1)
        # An upper bound for the magnitude of the exponent, or inf if it may be over about 10^300.
        most = 2.0**exponent.bits if exponent.bits < 1000 else inf
        if exponent.low is not None:
            ends = (abs(exponent.low), abs(exponent.high))
            most = max(float(end) * MARGIN if end.numerator.bit_length() < 1000 else inf for end in ends)
        natural = not exponent.places and (exponent.low >= 0 if exponent.low is not None else exponent.least > -inf)
        rounded = max(self.rounded, exponent.rounded, Enclosed.MAYBE if exponent.places else Enclosed.NO)
        bits, places = _times(self.bits, most), _times(self.places, most)
        if exponent.high is not None and exponent.high < 0:
            bits, places = places, max(bits, 1.0)
        elif not natural:
            bits = places = max(bits, places, 1.0)
        low = high = None
        if natural and self.low is not None and self.low >= 1 and exponent.low is not None and bits <= FOLDED_BITS:
            low, high = self.low ** int(exponent.low), self.high ** int(exponent.high)
        least = -inf
        if natural and self.least >= 0:
            least = _times(self.least, 2.0 ** min(exponent.least, 1023.0)) if exponent.least > -inf else 0.0
        return Size(low, high, bits, places, least / MARGIN, rounded)

    def negated(self) -> Size:
        """Return the size of the negated value."""
        low, high = (None, None) if self.low is None else (-self.high, -self.low)
        return self._replace(low=low, high=high, least=-inf)

    def whole(self) -> Size:
        """Return a size that holds whether the value is rounded down, up or to the nearest integer."""
        low, high = (None, None) if self.low is None else (self.low // 1, -(-self.high // 1))
        return Size(low, high, self.bits + 1)


def size_of(value: Value) -> Size:
    """Return the size of a known exact value."""
    value = lowest(value)
    least = log2_of(value.numerator) / MARGIN - log2_of(value.denominator) * MARGIN if value > 0 else -inf
    places = 0.0 if is_whole(value) else max(1.0, log2_of(value.denominator) * MARGIN)
    return Size(value, value, log2_of(value.numerator) * MARGIN, places, least)


def range_of(first: Value, last: Value) -> Size:
    """Return the size of a whole number from ``first`` to ``last``."""
    return Size(first, last, max(log2_of(first), log2_of(last)) * MARGIN, 0.0, size_of(first).least)


def log2_of(value: Value) -> float:
    """Return the base-2 logarithm of an integer's magnitude, or 0 for 0."""
    return float(gmp.log2(abs(value))) if value else 0.0


def rounded_of(*sizes: Size) -> Enclosed:
    """Return how certain it is that a value computed from values of these sizes is an enclosure."""
    return max(size.rounded for size in sizes)


def _times(bits: float, factor: float) -> float:
    return bits * factor if bits and factor else 0.0  # 0 times infinity is 0


def _corners(left: Size, right: Size, combine: Callable[[Value, Value], Value]) -> tuple[Value | None, Value | None]:
    """Return the bounds of a function that is monotone in both values; (None, None) if these are unknown or large."""
    ends = (left.low, left.high, right.low, right.high)
    if None in ends or max(left.bits + left.places, right.bits + right.places) > FOLDED_BITS:
        return None, None
    found = [lowest(combine(a, b)) for a in ends[:2] for b in ends[2:]]
    return min(found), max(found)


# The size after a step of a chain.
STEPS: Mapping[str, Callable[[Size, Size], Size]] = {
    "+": Size.plus,
    "-": Size.minus,
    "*": Size.times,
    "/": Size.over,
    "//": Size.over_whole,
    "%": Size.modulo,
}


def choose_euler(position: int, exponent: Size, modulus: Size) -> bool:
    """Return whether to reduce an exponent by Euler's theorem, which requires the prime factors of the modulus.

    The exponent must be whole and exact, may have over EULER_BITS bits, and must certainly be above 2^20 and above the
    number of bits of the modulus. So that the modulus is factored in time, it has at most MOST_EULER_MODULUS_BITS bits,
    not counting the prime factors up to 1,000 of a known modulus.

    Raises ResultTooLarge, with the position, if an exponent that cannot be reduced may have over MOST_EXPONENT_BITS.
    """
    if exponent.bits > EULER_BITS and not (exponent.places or exponent.rounded):
        large = exponent.least > 20 and modulus.bits < 2.0 ** min(exponent.least, 1023.0)
        if large and factored_bits(modulus) <= MOST_EULER_MODULUS_BITS:
            return True
    if exponent.bits > MOST_EXPONENT_BITS:
        detail = (
            "This exponent may have more than 5,050,445 digits: make it smaller. A larger exponent is possible only if "
            "it is certainly a large, positive whole number. The modulus must then have at most 128 bits, not counting "
            "prime factors up to 1,000."
        )
        raise too_large(position, detail, MOST_EXPONENT_BITS)
    return False


def factored_bits(modulus: Size) -> float:
    """Return the bits of a modulus without its prime factors up to 1,000, or with them if the modulus is unknown."""
    return modulus.bits if modulus.value is None else log2_of(coprime_part(modulus.value, _SMALL_PRIMES))
