"""The tokens of an expression, with their positions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pycalc.errors import InvalidInput
from pycalc.services.operations.expressions.problems import invalid
from pycalc.services.operations.numbers.literals import BASED, DIGITS

_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\r\n]+)
    | (?P<based>{BASED})
    | (?P<decimal>(?:{DIGITS}(?:\.{DIGITS})?|\.{DIGITS})(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[A-Za-z][A-Za-z0-9_]*)
    | (?P<operator>\*\*|//|==|!=(?!=)|<=|>=|[-+*/%^!(),<>])
    """,
    re.VERBOSE,
)
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:[,' \u00a0\u202f\u2009][0-9]{3})+(?![0-9.])")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
# The text to write in place of a character from another notation.
_REPLACEMENTS = {
    "−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "∕": "/", "⁄": "/", "√": "^(1/2)",
    "≤": "<=", "≥": ">=", "≠": "!=", "=": "==", "[": "(", "]": ")", "{": "(", "}": ")", "∑": "sum", "∏": "prod",
}  # fmt: skip


class Token(NamedTuple):
    """A number, a name, an operator, or the end, whose text is empty."""

    kind: str
    text: str
    position: int  # the index in the expression


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a text, then an end token.

    Raises InvalidInput at a character that belongs to no token, and at a ``'``, ``_`` or ``.`` directly after a number.
    """
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _refused(text, position)
        kind = match.lastgroup or ""
        if kind != "space":
            yield Token(kind, match[0], position)
        position = match.end()
        if kind in ("based", "decimal") and text[position : position + 1] in ("'", "_", "."):
            raise _refused(text, match.start() if _THOUSANDS.match(text, match.start()) else position)
    yield Token("end", "", position)


def _refused(text: str, position: int) -> InvalidInput:
    """Return the error for a character that is not allowed. The message suggests a replacement, if one is known."""
    character = text[position]
    if separated := separated_thousands(text, position):
        return separated
    if superscript := _SUPERSCRIPT.match(text, position):
        power = superscript[0].translate(_SUPERSCRIPTS)
        return invalid(position, f"A superscript is not an operator here: write ^{power} for the power.")
    if character in _REPLACEMENTS:
        return invalid(position, f"The character {character} is not known: write {_REPLACEMENTS[character]} for it.")
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return invalid(position, f"The character {shown} has no meaning in an expression: leave it out.")


def separated_thousands(text: str, position: int) -> InvalidInput | None:
    """Return the error for a number with thousands separators at ``position``, or None if there is no such number."""
    match = _THOUSANDS.match(text, position)
    if match is None:
        return None
    plain = re.sub("[^0-9]", "", match[0])[:12]
    underscored = re.sub(r"(?<=[0-9])(?=(?:[0-9]{3})+$)", "_", plain)
    return invalid(position, f"A number has no thousands separators: write {plain} or {underscored}.")
