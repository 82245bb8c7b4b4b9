"""Reading results back from their text, in linear time and without big copies."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from pycalc.services.operations.decimals import exact_context

ENDS = 20
"""How many leading and trailing digits a summary shows."""

_DIGITS = re.compile(rb"[^0-9]+")


class Facts(NamedTuple):
    """A text's digit characters: how many, and the first and last (up to) 20 of them."""

    digits: int
    leading: str
    trailing: str


def describe(text: bytes) -> Facts:
    """The facts of a result's text: sign, point and slash are left out, as is the exponent of a scientific form."""
    end = text.rfind(b"e", -20_000)
    if end < 0:
        end = len(text)
    marks = sum(text.count(mark, 0, end) for mark in (b"-", b".", b"/"))
    leading = _DIGITS.sub(b"", text[: min(end, ENDS + 3)])[:ENDS]
    trailing = _DIGITS.sub(b"", text[max(0, end - ENDS - 3) : end])[-ENDS:]
    return Facts(end - marks, leading.decode(), trailing.decode())


def digits_residue(text: bytes, prime: int) -> int:
    """An integer, a decimal ``a.b`` or a fraction ``p/q`` modulo ``prime`` (below 10^19), in linear time.

    libmpdec divides by a single base-10^19 word with one pass over the digits. Raises ValueError for any other
    text, ZeroDivisionError where ``prime`` divides the denominator.
    """
    numerator, slash, denominator = text.partition(b"/")
    residue = _decimal_residue(numerator, prime)
    if not slash:
        return residue
    return residue * inverse(_decimal_residue(denominator, prime), prime) % prime


def residue_or_none(text: bytes, prime: int) -> int | None:
    """``digits_residue``, or None for a text that is no exact number."""
    try:
        return digits_residue(text, prime)
    except ValueError:
        return None


def inverse(value: int, modulus: int) -> int:
    """The inverse modulo ``modulus``; ZeroDivisionError where there is none."""
    try:
        return pow(value, -1, modulus)
    except ValueError:
        raise ZeroDivisionError("no inverse") from None


def _decimal_residue(text: bytes, prime: int) -> int:
    point = text.find(b".")
    places = 0 if point < 0 else len(text) - point - 1
    context = exact_context()
    try:
        number = Decimal(str(text, "ascii"))
        residue = int(context.remainder(context.scaleb(number, places) if places else number, Decimal(prime)))
    except InvalidOperation:
        raise ValueError("not a number") from None
    return residue * pow(10, -places, prime) % prime if places else residue % prime
