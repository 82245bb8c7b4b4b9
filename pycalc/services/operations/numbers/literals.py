"""Natural and decimal literals, exact at any length, and the keys made of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.services.operations.numbers.gmp import int_of, text_of

MAX_LITERAL = 10_000  # the longest literal accepted, in characters
MAX_EXPONENT = 10**18  # the largest magnitude of a decimal literal's exponent
SAFE_INTEGER = 2**53 - 1  # the largest integer that every JSON reader keeps exact (RFC 7493)

_PADDING = 100
_KEY_LENGTH = 200
NATURAL = re.compile(r"[0-9]+")
DECIMAL = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]+))?|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?")


@dataclass(frozen=True, slots=True, repr=False)
class DecimalLiteral:
    """The number ``unscaled``·10^``exponent`` in lowest form: ``unscaled`` is no multiple of ten; zero is (0, 0)."""

    unscaled: int
    exponent: int

    def __repr__(self) -> str:
        return f"DecimalLiteral({self.text()})"

    @property
    def is_integer(self) -> bool:
        """Return whether the number is whole."""
        return self.exponent >= 0

    def text(self) -> str:
        """Return the canonical form: plain digits, or ``1.5e-200`` where those would need over 100 more zeros."""
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
        """Return a JSON number where it is an integer within ±(2^53-1), otherwise the canonical text."""
        if 0 <= self.exponent <= 15 and self.unscaled.bit_length() <= 53:
            value = self.unscaled * 10**self.exponent
            return value if abs(value) <= SAFE_INTEGER else self.text()
        return self.text()


def natural_json(value: int) -> int | str:
    """Return a natural number as a JSON value."""
    return value if value <= SAFE_INTEGER else text_of(value)


def key_of(name: str, *operands: str) -> str:
    """Return ``name:operand:...``, with long operands hashed."""
    text = ":".join(operands)
    if len(text) > _KEY_LENGTH:
        text = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return f"{name}:{text}"


def required(raw: Mapping[str, str], name: str) -> str | FieldProblem:
    """Return the literal's text, or a FieldProblem when it is missing or too long."""
    text = raw.get(name)
    if not isinstance(text, str):
        return FieldProblem(f"/{name}", f"{name} is missing: it is required.")
    if len(text) > MAX_LITERAL:
        return FieldProblem(f"/{name}", f"{name} must have at most {MAX_LITERAL:,} characters.")
    return text


def natural_problem(name: str, least: int = 0) -> FieldProblem:
    """Return the problem of a text that is not a whole number of ``least`` or more."""
    return FieldProblem(f"/{name}", f"{name} must be a whole number of {least} or more, in the digits 0-9.")


def parse_natural(raw: Mapping[str, str], name: str, least: int = 0) -> int:
    """Return a natural number of ``least`` or more from ASCII digits alone; InvalidInput for anything else."""
    text = required(raw, name)
    if isinstance(text, FieldProblem):
        raise InvalidInput.of(text)
    if NATURAL.fullmatch(text) and (value := int_of(text)) >= least:
        return value
    raise InvalidInput.of(natural_problem(name, least))


def parse_decimal(raw: Mapping[str, str], name: str) -> DecimalLiteral | FieldProblem:
    """Return a decimal such as ``2``, ``-3``, ``2.5``, ``.5`` or ``1e3``, or the problem with its text."""
    text = required(raw, name)
    if isinstance(text, FieldProblem):
        return text
    match = DECIMAL.fullmatch(text)
    if match is None:
        return FieldProblem(f"/{name}", f"{name} must be a decimal number such as 2, -3, 2.5 or 1e3.")
    sign, whole, fraction, bare, power = match.groups()
    fraction = fraction or bare or ""
    exponent = int_of(power or "0")
    if abs(exponent) > MAX_EXPONENT:
        return FieldProblem(f"/{name}", f"{name} must have an exponent within ±10^18.")
    return _lowest(sign, (whole or "") + fraction, exponent - len(fraction))


def _lowest(sign: str, digits: str, exponent: int) -> DecimalLiteral:
    significant = digits.rstrip("0")
    if not significant:
        return DecimalLiteral(0, 0)
    unscaled = int_of(significant)
    return DecimalLiteral(-unscaled if sign == "-" else unscaled, exponent + len(digits) - len(significant))
