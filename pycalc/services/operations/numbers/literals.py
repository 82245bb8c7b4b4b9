"""Natural, integer and rational literals, which are read exactly, and cache keys made of literals."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.services.operations.numbers.gmp import gmp, int_of, mpz, text_of

MAX_LITERAL = 10_000  # the most characters of a literal
LONGEST_OPERAND = 1_000_000  # the most characters of a literal, for the operands that may be longer than MAX_LITERAL
MAX_EXPONENT = 10**18  # the largest magnitude of a decimal literal's exponent
SAFE_INTEGER = 2**53 - 1  # the largest integer that every JSON reader keeps exact (RFC 7493)

_PADDING = 100  # the most zeros that a plain text may have at its end, or before its first other digit
_HUGE = 20_000  # the size assumed for a literal with a very large exponent, in digits
_KEY_LENGTH = 200
DIGITS = "[0-9]+(?:_[0-9]+)*"
BASED = "0[xX][0-9a-fA-F]+(?:_[0-9a-fA-F]+)*|0[bB][01]+(?:_[01]+)*"
# 0xFF, 0b101, 1_000 and 1e6
_NATURAL = rf"{BASED}|{DIGITS}(?:[eE]\+?[0-9]+)?"
NATURAL = re.compile(f"(?:{_NATURAL})")
INTEGER = re.compile(f"[+-]?(?:{_NATURAL})")
# 0xFF, 1/3, 2.5, .5 and 1e-3
RATIONAL = re.compile(
    rf"([+-]?)(?:({BASED})|({DIGITS})/({DIGITS})|"
    rf"(?:({DIGITS})(?:\.({DIGITS}))?|\.({DIGITS}))(?:[eE]([+-]?[0-9]+))?)"
)


@dataclass(frozen=True, slots=True, repr=False)
class RationalLiteral:
    """The number ``unscaled``·10^``exponent`` / ``denominator`` in lowest terms. Zero is (0, 0, 1).

    ``unscaled`` is no multiple of ten. ``denominator`` is positive, and coprime to ten and to ``unscaled``.
    """

    unscaled: int
    exponent: int
    denominator: int = 1

    def __repr__(self) -> str:
        return f"RationalLiteral({self.text()})"

    @property
    def is_integer(self) -> bool:
        """Return whether the number is whole."""
        return self.exponent >= 0 and self.denominator == 1

    def text(self) -> str:
        """Return the canonical text: ``p/q``, plain digits or, if these need many zeros, scientific notation."""
        if self.denominator > 1:
            scale = mpz(10) ** abs(self.exponent)
            value = gmp.mpq(self.unscaled, self.denominator)
            value = value * scale if self.exponent >= 0 else value / scale
            return f"{text_of(int(value.numerator))}/{text_of(int(value.denominator))}"
        sign = "-" if self.unscaled < 0 else ""
        digits = text_of(abs(self.unscaled))
        if 0 <= self.exponent <= _PADDING:
            return sign + digits + "0" * self.exponent
        places = -self.exponent
        if 0 < places <= len(digits) + _PADDING:
            padded = digits.rjust(places + 1, "0")
            return f"{sign}{padded[:-places]}.{padded[-places:]}"
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{self.exponent + len(digits) - 1}"

    def json(self) -> int | str:
        """Return the number as a JSON number if it is an integer within ±(2^53-1), otherwise its canonical text."""
        if self.is_integer and self.exponent <= 15:
            return integer_json(self.unscaled * 10**self.exponent)
        return self.text()


def integer_json(value: int) -> int | str:
    """Return an integer as a JSON number if it is within ±(2^53-1), otherwise as a string of its digits."""
    return value if abs(value) <= SAFE_INTEGER else text_of(value)


def shortened(value: int) -> str:
    """Return an integer's text for a message: if it has over 60 characters, only the first and last 20."""
    text = text_of(value)
    return text if len(text) <= 60 else f"{text[:20]}...{text[-20:]}"


def key_of(name: str, *operands: str) -> str:
    """Return the cache key ``name:operand:...``, in which a SHA-256 hash replaces long operands."""
    text = ":".join(operands)
    if len(text) > _KEY_LENGTH:
        text = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return f"{name}:{text}"


def _required(raw: Mapping[str, str], name: str, most: int) -> str:
    text = raw.get(name)
    if not isinstance(text, str):
        raise _invalid(name, "is missing: it is required.")
    if len(text) > most:
        raise _invalid(name, f"must have at most {most:,} characters.")
    return text


def _invalid(name: str, problem: str) -> InvalidInput:
    return InvalidInput.of(FieldProblem(f"/{name}", f"{name} {problem}"))


def parse_integer(raw: Mapping[str, str], name: str, least: int | None, most: int = MAX_LITERAL) -> int:
    """Return the integer of a literal such as 12, 1_000, 1e6, 0xFF or 0b101. It may have a sign if ``least`` is None.

    Raises InvalidInput if the literal is missing, of another form or too long, also with its exponent written out, or
    if the number is below ``least``.
    """
    text = _required(raw, name, most)
    if (INTEGER if least is None else NATURAL).fullmatch(text):
        unsigned = text.lstrip("+-")
        plain = unsigned.replace("_", "").lower()
        if plain.startswith(("0x", "0b")):
            value = int(plain, 0)
        else:
            digits, _, power = plain.partition("e")
            zeros = int_of(power or "0")
            if len(digits) + zeros > max(MAX_LITERAL, len(unsigned)):  # a short text never stands for a long number
                raise _invalid(name, f"must have at most {MAX_LITERAL:,} digits with its exponent written out.")
            value = int_of(digits + "0" * zeros)
        if least is None or value >= least:
            return -value if text.startswith("-") else value
    wanted = "such as 12, -12, 1e6 or 0xFF" if least is None else f"of {least} or more, such as 12, 1e6 or 0xFF"
    raise _invalid(name, f"must be a whole number {wanted}.")


def size_of(literal: str) -> int:
    """Return roughly how many digits a literal stands for: its characters plus the magnitude of its exponent.

    For a hexadecimal literal, the result may be too large: a digit e is taken for the beginning of an exponent.
    """
    exponent = literal.lower().partition("e")[2].lstrip("+-")
    if not (exponent.isascii() and exponent.isdigit()):
        return len(literal)
    return len(literal) + (int(exponent) if len(exponent) <= 5 else _HUGE)


def parse_rational(raw: Mapping[str, str], name: str, most: int = MAX_LITERAL) -> RationalLiteral:
    """Return the number of a literal such as ``-3``, ``.5``, ``1e3``, ``0xFF`` or ``2/3``.

    Raises InvalidInput for a literal that is missing, of another form or too long, or has a denominator of 0.
    """
    match = RATIONAL.fullmatch(_required(raw, name, most))
    if match is None:
        raise _invalid(name, "must be a number such as 2, -3, 2.5, 1e3, 0xFF or 2/3.")
    groups = (group and group.replace("_", "") for group in match.groups())
    sign, based, numerator, denominator, whole, fraction, bare, power = groups
    if based:
        return lowest(sign, text_of(int(based, 0)), 0)
    if denominator:
        divisor = int_of(denominator)
        if divisor == 0:
            raise _invalid(name, "must have a denominator of 1 or more.")
        value = gmp.mpq(int_of(numerator), divisor)
        # The factors 2 and 5 of the denominator become a power of ten.
        rest, twos = gmp.remove(value.denominator, 2)
        rest, fives = gmp.remove(rest, 5)
        places = max(int(twos), int(fives))
        scaled = int(value.numerator * mpz(2) ** (places - twos) * mpz(5) ** (places - fives))
        return replace(lowest(sign, text_of(scaled), -places), denominator=int(rest))
    fraction = fraction or bare or ""
    exponent = int_of(power or "0")
    if abs(exponent) > MAX_EXPONENT:
        raise _invalid(name, "must have an exponent within ±10^18.")
    return lowest(sign, (whole or "") + fraction, exponent - len(fraction))


def lowest(sign: str, digits: str, exponent: int) -> RationalLiteral:
    """Return the number with this sign (``-``, ``+`` or empty), digits and power of ten, in lowest terms."""
    significant = digits.rstrip("0")
    if not significant:
        return RationalLiteral(0, 0)
    unscaled = int_of(significant)
    return RationalLiteral(-unscaled if sign == "-" else unscaled, exponent + len(digits) - len(significant))
