"""The value of a node from the values of its operands: exact, or an enclosure of an irrational value."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pycalc.services.operations.expressions import nodes
from pycalc.services.operations.expressions.functions import Function
from pycalc.services.operations.expressions.nodes import Node
from pycalc.services.operations.expressions.problems import MOST_BITS, too_large, undefined
from pycalc.services.operations.expressions.values import (
    UndecidedError,
    Value,
    bits_of,
    fraction,
    is_exact,
    is_whole,
    lowest,
)
from pycalc.services.operations.numbers.gmp import exact_root, gmp, mpz
from pycalc.services.operations.numbers.literals import RationalLiteral

DIVISION_BY_ZERO = "This is a division by zero: only a divisor other than 0 has a quotient."
IRRATIONAL = "This power is irrational, so that it has no finite exact form: give a precision to round it to."
# On exact values. GMP's ``//`` and ``%`` are right only for integers.
OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": fraction,
    "//": operator.floordiv,
    "%": operator.mod,
}
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Arithmetic:
    """Arithmetic on exact values, and on enclosures of irrational values.

    ``precision`` is the number of digits to which an irrational value is rounded at the end, or 0 to refuse such
    values. ``bits`` is the working precision of enclosures.
    """

    def __init__(self, functions: Mapping[str, Function], precision: int = 0, bits: int = 0) -> None:
        self.functions = functions
        self.precision = precision
        self.bits = bits  # public, because a value close to a tie is rounded by all its bits
        # The bits that a difference of nearly equal values may cancel: the largest size of the exact values that were
        # combined with enclosures, and of the whole parts of enclosures.
        self.needed = 0

    def value(self, node: Node, operands: Sequence[Value]) -> Value:
        """Return the value of an operator, a call or a comparison with these operands.

        Raises DomainError or ResultTooLarge, with the position, UndecidedError if an enclosure is too wide, and
        VerificationFailed if the check of a called operation fails.
        """
        position, first = node.position, operands[0]
        match node:
            case nodes.Chain(_, _, steps):
                for step, operand in zip(steps, operands[1:], strict=True):
                    first = self.step(step.position, step.operator, first, operand)
                return first
            case nodes.Exponentiation():
                return self._power(position, first, operands[1])
            case nodes.Negation():
                return self.step(position, "-", mpz(0), first)
            case nodes.Call(_, name):
                return self._call(position, name, operands)
            case nodes.Comparison(_, sign):
                return self._compare(position, sign, first, operands[1])
        raise TypeError(f"{type(node).__name__} is no operation")

    def step(self, position: int, sign: str, left: Value, right: Value) -> Value:
        """Return ``left sign right``, for a sign among ``+ - * / // %``. Raises the errors of ``value``."""
        if sign not in "+-*" and is_exact(right) and not right:
            raise undefined(position, DIVISION_BY_ZERO)
        if sign in ("//", "%") and not (is_whole(left) and is_whole(right)):
            quotient = self._rounded(position, "floor", self.step(position, "/", left, right))
            if sign == "//":
                return quotient
            return self.step(position, "-", left, self.step(position, "*", quotient, right))
        if is_exact(left) and is_exact(right):
            if sign == "*":
                require_size(position, bits_of(left) + bits_of(right))
            return lowest(OPERATORS[sign](left, right))
        if sign == "*" and any(is_exact(factor) and not factor for factor in (left, right)):
            return mpz(0)
        return self._enclosed(sign, position, left, right)

    def exact_power(self, position: int, base: Value, exponent: Value) -> Value | None:
        """Return a power of exact values, or None if it is irrational. Raises the errors of ``value``.

        As in ``pow``, 0^0 is 1, and an odd root of a negative number is real.
        """
        if not base and exponent < 0:
            raise undefined(position, "This is 0 to a negative power, which is a division by zero.")
        if is_whole(exponent):
            return _whole_power(position, base, exponent)
        if base < 0 and exponent.denominator % 2 == 0:
            raise undefined(position, "An even root of a negative number is not real.")
        degree = exponent.denominator
        above, below = exact_root(abs(base.numerator), degree), exact_root(base.denominator, degree)
        if above is None or below is None:
            return None
        root = fraction(above, below)
        return _whole_power(position, -root if base < 0 else root, exponent.numerator)

    def _power(self, position: int, base: Value, exponent: Value) -> Value:
        if is_exact(base) and is_exact(exponent):
            power = self.exact_power(position, base, exponent)
            if power is not None:
                return power
            if not self.precision:
                raise undefined(position, IRRATIONAL)
        elif is_exact(base) and not base and exponent > 0:
            return base
        return self._enclosed("^", position, base, exponent)

    def _call(self, position: int, name: str, operands: Sequence[Value]) -> Value:
        best = operands[0]
        match name:
            case "abs":
                return self.step(position, "-", mpz(0), best) if self._compare(position, "<", best, mpz(0)) else best
            case "floor" | "ceil" | "round":
                return self._rounded(position, name, best)
            case "min" | "max":
                for operand in operands[1:]:
                    best = operand if self._compare(position, "<" if name == "min" else ">", operand, best) else best
                return best
        return self.functions[name].value(position, operands)

    def _rounded(self, position: int, name: str, value: Value) -> Value:
        """Return the ``floor``, ``ceil`` or nearest integer (``round``, halves to even) of a value."""
        if is_whole(value):
            return value
        if not is_exact(value):
            from pycalc.services.operations.expressions.enclosures import whole_of

            return whole_of(position, name, value)
        if name == "ceil":
            return -(-value // 1)
        return value // 1 if name == "floor" else mpz(round(value))

    def _compare(self, position: int, sign: str, left: Value, right: Value) -> bool:
        if is_exact(left) and is_exact(right):
            return bool(_COMPARE[sign](left, right))
        difference = self.step(position, "-", left, right)
        if difference.contains(0):
            raise UndecidedError(position)
        return bool(_COMPARE[sign](1 if difference > 0 else -1, 0))

    def _enclosed(self, sign: str, position: int, left: Value, right: Value) -> Value:
        # Importing FLINT takes longer than most expressions.
        from pycalc.services.operations.expressions.enclosures import combined, magnitude

        for operand in filter(is_exact, (left, right)):
            self.needed = max(self.needed, operand.numerator.bit_length(), operand.denominator.bit_length())
        found = combined(sign, position, left, right, self.bits)
        self.needed = max(self.needed, magnitude(found))
        return found


def number(position: int, literal: RationalLiteral) -> Value:
    """Return the value of a decimal literal. Raises ResultTooLarge if its exponent is too far from 0."""
    require_size(position, abs(literal.exponent) * 3.33)
    scale = mpz(10) ** abs(literal.exponent)
    return literal.unscaled * scale if literal.exponent >= 0 else fraction(mpz(literal.unscaled), scale)


def require_modulus(position: int, modulus: Value) -> None:
    """Raise DomainError for a modulus that is not a whole number of 1 or more."""
    if not is_whole(modulus) or modulus < 1:
        raise undefined(position, "The modulus of mod must be a whole number of 1 or more.")


def require_size(position: int, bits: float) -> None:
    """Raise ResultTooLarge for a value of more bits than may be computed."""
    if bits > MOST_BITS:
        raise too_large(position)


def _whole_power(position: int, base: Value, exponent: Value) -> Value:
    if abs(base) == 1 or not base:
        return mpz(1) if exponent % 2 == 0 and (base or not exponent) else base
    require_size(position, bits_of(base) * float(abs(exponent)) if exponent.bit_length() < 64 else float("inf"))
    if exponent >= 0:
        return lowest(base ** int(exponent))
    return lowest((1 / gmp.mpq(base)) ** int(-exponent))
