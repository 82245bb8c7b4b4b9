"""Conversions between the service's texts and Python's numbers.

By default, Python refuses to convert between integers and decimal texts of more than 4,300 digits, because its
algorithms are quadratic. These functions convert integers of any length, and change no global setting: they join
shorter pieces of a text, and write long integers in hexadecimal or by Decimal.
"""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

_PIECE = 2_000  # digits that Python converts at once, below its limit of 4,300
_LONGEST_STR = 14_000  # bits; the decimal text of a shorter integer is below Python's limit

Integer = int | str
Rational = int | str | float | Decimal | Fraction


class Factor(NamedTuple):
    """A prime factor, and how often it divides the number."""

    prime: int
    exponent: int


class IntegerRoot(NamedTuple):
    """The floor of the k-th root of a number, and the number minus the floor's k-th power."""

    root: int
    remainder: int


Value = int | Fraction | Decimal | bool | list[Factor] | IntegerRoot


def literal(value: Rational) -> str:
    """Return a number as a text that the service can read; a text is returned unchanged.

    A float stands for the digits that Python prints for it: 0.1 is one tenth.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Fraction):
        return f"{_decimal(value.numerator)}/{_decimal(value.denominator)}"
    if isinstance(value, int):
        return str(int(value)) if value.bit_length() < _LONGEST_STR else hex(value)
    return str(value)


def _decimal(value: int) -> str:
    return str(Decimal(value))  # in contrast to str(int), Decimal has no limit


def integer_of(text: str, base: int = 10) -> int:
    """Return the integer that a text of any length represents.

    A million digits take about a second. The time grows with the power 1.6 of the length, as Python's multiplication
    does.
    """
    if text.startswith("-"):
        return -integer_of(text[1:], base)
    sizes = [_PIECE]  # lengths of the lower half, the smallest first
    powers: list[int] = [base**_PIECE]
    while 2 * sizes[-1] < len(text):
        sizes.append(2 * sizes[-1])
        powers.append(powers[-1] ** 2)

    def convert(part: str, depth: int) -> int:
        while depth >= 0 and len(part) <= sizes[depth]:
            depth -= 1
        if depth < 0:
            return int(part, base)
        upper, lower = part[: -sizes[depth]], part[-sizes[depth] :]
        return convert(upper, depth) * powers[depth] + convert(lower, depth - 1)

    return convert(text, len(sizes) - 1)


def text_of(result: Any) -> str:
    """Return a result from JSON as text: bare digits, ``true`` or ``false``, or the JSON of a list or object."""
    return result if isinstance(result, str) else json.dumps(result, separators=(",", ":"))


def value_of(text: str, *, exact: bool, base: int = 10) -> Value:
    """Return the value that a result's text represents; a number that is not exact is a Decimal."""
    if base != 10:  # in base 36, even "true" is a number
        return integer_of(text, base)
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("["):
        return [factor_of(each) for each in json.loads(text)]
    if text.startswith("{"):
        root = json.loads(text)
        return IntegerRoot(integer_of(str(root["root"])), integer_of(str(root["remainder"])))
    numerator, _, denominator = text.partition("/")
    if denominator:
        return Fraction(integer_of(numerator), integer_of(denominator))
    if not exact or "." in text or "e" in text:
        return Decimal(text)
    return integer_of(text)


def factor_of(found: dict[str, Any]) -> Factor:
    """Return a prime factor from its JSON."""
    return Factor(integer_of(str(found["prime"])), found["exponent"])
