"""Texts of rounded results; digit counts and residues of texts, in linear time and without large copies."""

from __future__ import annotations

import re
from typing import NamedTuple

from pycalc.services.operations.numbers.gmp import mpz, text_of

ENDS = 20  # how many leading and trailing digits a summary shows

_PIECE = 800  # digits that are read at once: the time for a piece grows with the square of its length
_OTHER_BYTES = re.compile(rb"[^0-9]+")  # all bytes that are not digits

PLAIN_FROM = -6  # the smallest exponent of a number that is written in plain digits


class Ends(NamedTuple):
    """The number of digits in a text, and the first and last of these digits (up to 20 each)."""

    digits: int
    leading: str
    trailing: str

    @classmethod
    def of_text(cls, text: str) -> Ends:
        """Return the ends of a string of digits."""
        return cls(len(text), text[:ENDS], text[-ENDS:])

    @classmethod
    def zeros(cls, count: int) -> Ends:
        """Return the ends of a string of ``count`` zeros."""
        shown = "0" * min(count, ENDS)
        return cls(count, shown, shown)

    def followed_by(self, other: Ends) -> Ends:
        """Return the ends of this string of digits joined with another one."""
        leading = (self.leading + other.leading)[:ENDS] if self.digits < ENDS else self.leading
        trailing = (self.trailing + other.trailing)[-ENDS:] if other.digits < ENDS else other.trailing
        return Ends(self.digits + other.digits, leading, trailing)


def describe(text: bytes) -> Ends:
    """Return the ends of a result's text without its sign, point, slash and exponent. A text in JSON has no digits."""
    if text in (b"true", b"false") or text.startswith((b"[", b"{")):
        return Ends(0, "", "")
    end = text.rfind(b"e", -20_000)
    if end < 0:
        end = len(text)
    # Nearly all long texts are digits alone, which one pass shows.
    marks = 0 if text.isdigit() else sum(text.count(mark, 0, end) for mark in (b"-", b".", b"/"))
    leading = _OTHER_BYTES.sub(b"", text[: min(end, ENDS + 3)])[:ENDS]
    trailing = _OTHER_BYTES.sub(b"", text[max(0, end - ENDS - 3) : end])[-ENDS:]
    return Ends(end - marks, leading.decode(), trailing.decode())


def digits_residue(text: bytes, prime: int) -> int | None:
    """Return an integer, a decimal ``a.b`` or a fraction ``p/q`` modulo ``prime``, or None for another text.

    Raises ZeroDivisionError if ``prime`` divides the denominator.
    """
    numerator, slash, denominator = text.partition(b"/")
    try:
        residue = _decimal_residue(numerator, prime)
        return residue * inverse(_decimal_residue(denominator, prime), prime) % prime if slash else residue
    except ValueError:
        return None


def inverse(value: int, modulus: int) -> int:
    """Return the inverse of ``value`` modulo ``modulus``. Raises ZeroDivisionError if there is none."""
    try:
        return pow(value, -1, modulus)
    except (ValueError, ZeroDivisionError):  # int raises ValueError, and mpz ZeroDivisionError
        raise ZeroDivisionError("no inverse") from None


def _decimal_residue(text: bytes, prime: int) -> int:
    digits = text[1:] if text.startswith(b"-") else text
    whole, point, places = digits.partition(b".")
    if not whole.isdigit() or (point and not places.isdigit()):
        raise ValueError("not a number")
    residue = natural_residue(whole, prime)
    if point:
        scale = pow(10, len(places), prime)
        residue = (residue * scale + natural_residue(places, prime)) * inverse(scale, prime) % prime
    return -residue % prime if text.startswith(b"-") else residue


def natural_residue(digits: bytes, prime: int, base: int = 10) -> int:
    """Return the natural number that ``digits`` are in ``base``, modulo ``prime``, in linear time."""
    residue, scale = mpz(0), pow(base, _PIECE, prime)
    for start in range(len(digits) % _PIECE - _PIECE, len(digits), _PIECE):
        if piece := digits[max(0, start) : start + _PIECE]:
            residue = (residue * scale + mpz(piece, base)) % prime
    return int(residue)


class Rounded(NamedTuple):
    """The number ±d.ddd·10^``exponent``. ``digits`` is the integer dddd, which has as many digits as the precision."""

    negative: bool
    digits: int
    exponent: int

    def text(self) -> str:
        """Return the text with all digits of the precision: as ``d.ddde+123`` if plain digits need too many zeros."""
        digits = text_of(self.digits)
        sign = "-" if self.negative else ""
        whole = self.exponent + 1
        if not PLAIN_FROM <= self.exponent < len(digits):
            point = f".{digits[1:]}" if len(digits) > 1 else ""
            return f"{sign}{digits[0]}{point}e{'+' if self.exponent >= 0 else '-'}{text_of(abs(self.exponent))}"
        if whole <= 0:
            return f"{sign}0.{'0' * -whole}{digits}"
        return sign + (digits if whole == len(digits) else f"{digits[:whole]}.{digits[whole:]}")
