"""Random expressions as trees, with their text for the service and their value in Python's fractions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from random import Random

MOST_BITS = 3_000
MOST_DEPTH = 5
_LEAVES = ("0", "1", "2", "3", "7", "10", "12", "97", "1e3", "0.5", "2.25", ".125", "0x1F", "0b101", "1_000", "1e-2")
_UNARY = ("neg", "abs", "floor", "ceil", "round")
_BINARY = ("+", "+", "-", "-", "*", "*", "/", "//", "%", "^", "mod", "min", "max")
_COMPARE: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class NoValueError(Exception):
    """The expression has no exact rational value, such as 1/0, 2^0.5, or 1/3 mod 3."""


class TooLargeError(Exception):
    """The value is too large for a test to compute."""


@dataclass(frozen=True)
class Drawn:
    """A node of an expression: an operator, function, literal (``number``) or variable, with its operands."""

    kind: str
    operands: tuple[Drawn, ...] = ()
    text: str = ""


def draw(random: Random, depth: int = MOST_DEPTH, variables: tuple[str, ...] = ()) -> Drawn:
    """Return a random tree without a comparison."""
    if not depth or random.random() < 0.15:
        if variables and random.random() < 0.6:
            return Drawn("variable", text=random.choice(variables))
        return Drawn("number", text=random.choice((*_LEAVES, str(random.randrange(10 ** random.randrange(1, 12))))))
    chance = random.random()
    if chance < 0.68:
        left = draw(random, depth - 1, variables)
        return Drawn(random.choice(_BINARY), (left, draw(random, depth - 1, variables)))
    if chance < 0.83:
        return Drawn(random.choice(_UNARY), (draw(random, depth - 1, variables),))
    if chance < 0.93:
        argument = Drawn("floor", (Drawn("abs", (draw(random, depth - 2 if depth > 1 else 0, variables),)),))
        bounded = Drawn("%", (argument, Drawn("number", text=random.choice(("20", "150")))))
        return Drawn(random.choice(("fibonacci", "factorial")), (bounded,))
    name = f"i{depth}"
    first, last = (Drawn("number", text=str(random.randrange(start, start + 4))) for start in (0, 2))
    return Drawn(
        random.choice(("sum", "prod")), (first, last, draw(random, min(2, depth - 1), (*variables, name))), name
    )


def draw_long_loop(random: Random) -> Drawn:
    """Return a random sum or product of 16 to 600 terms, sometimes modulo a number."""
    start = random.randrange(-40, 40)
    first, last = (Drawn("number", text=str(each)) for each in (start, start + random.randrange(15, 600)))
    tree = Drawn(
        random.choice(("sum", "sum", "prod")), (first, last, draw(random, random.randrange(1, 4), ("i",))), "i"
    )
    if random.random() < 0.3:
        tree = Drawn("mod", (tree, Drawn("number", text=str(random.randrange(1, 200)))))
    return tree


def draw_whole(random: Random) -> Drawn:
    """Return a random tree, sometimes with a comparison at its top."""
    tree = draw(random)
    if random.random() < 0.15:
        tree = Drawn(random.choice(tuple(_COMPARE)), (tree, draw(random)))
    return tree


def written(tree: Drawn) -> str:
    """Return a tree as text for the service, with parentheses around every operator except a comparison."""
    parts = [written(operand) for operand in tree.operands]
    match tree.kind:
        case "number" | "variable":
            return tree.text
        case "neg":
            return f"(-{parts[0]})"
        case "factorial":
            return f"({parts[0]}!)"
        case "sum" | "prod":
            return f"{tree.kind}({tree.text}, {', '.join(parts)})"
        case kind if kind.isalpha() and kind != "mod":
            return f"{kind}({', '.join(parts)})"
    text = f"{parts[0]} {tree.kind} {parts[1]}"
    return text if tree.kind in _COMPARE else f"({text})"


def value_of(tree: Drawn) -> Fraction | bool:
    """Return a tree's value; raises NoValueError and TooLargeError."""
    if tree.kind in _COMPARE:
        left, right = (_number(operand, {}) for operand in tree.operands)
        return _COMPARE[tree.kind](left, right)
    return _number(tree, {})


def _number(tree: Drawn, known: Mapping[str, Fraction]) -> Fraction:
    if tree.kind == "number":
        text = tree.text.replace("_", "")
        return Fraction(int(text, 0)) if text[:2] in ("0x", "0b") else Fraction(text)
    if tree.kind == "variable":
        return known[tree.text]
    if tree.kind in ("sum", "prod"):
        return _loop(tree, known)
    values = [_number(operand, known) for operand in tree.operands]
    try:
        value = Fraction(_VALUES[tree.kind](*values))
    except ZeroDivisionError:
        raise NoValueError from None
    return _small(value)


def _small(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MOST_BITS:
        raise TooLargeError
    return value


def _loop(tree: Drawn, known: Mapping[str, Fraction]) -> Fraction:
    first, last, body = tree.operands
    result = Fraction(tree.kind == "prod")
    for index in range(int(first.text), int(last.text) + 1):
        term = _number(body, {**known, tree.text: Fraction(index)})
        result = _small(result + term if tree.kind == "sum" else result * term)
    return result


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if base == 0:
        if exponent < 0:
            raise NoValueError
        return Fraction(exponent == 0)
    if exponent.denominator > 1:
        base = _root(base, exponent.denominator)
    if base.numerator in (1, -1) and base.denominator == 1:
        return base if exponent.numerator % 2 else Fraction(1)
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size * abs(exponent.numerator) > 3 * MOST_BITS:
        raise TooLargeError
    return base**exponent.numerator


def _root(base: Fraction, degree: int) -> Fraction:
    if base < 0 and degree % 2 == 0:
        raise NoValueError
    parts = [_integer_root(abs(part), degree) for part in (base.numerator, base.denominator)]
    return Fraction(parts[0] if base > 0 else -parts[0], parts[1])


def _integer_root(value: int, degree: int) -> int:
    if value <= 1:
        return value
    low, high = 1, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if degree * (middle.bit_length() - 1) > value.bit_length() or middle**degree >= value:
            high = middle
        else:
            low = middle + 1
    if degree > value.bit_length() or low**degree != value:
        raise NoValueError
    return low


def _modulo(value: Fraction, modulus: Fraction) -> Fraction:
    if modulus.denominator != 1 or modulus < 1 or math.gcd(value.denominator, modulus.numerator) != 1:
        raise NoValueError
    return Fraction(value.numerator * pow(value.denominator, -1, modulus.numerator) % modulus.numerator)


def _fibonacci(index: Fraction) -> Fraction:
    a, b = 0, 1
    for _ in range(int(index)):
        a, b = b, a + b
    return Fraction(a)


_VALUES: Mapping[str, Callable[..., Fraction | int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "^": _power,
    "mod": _modulo,
    "min": min,
    "max": max,
    "neg": operator.neg,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "fibonacci": _fibonacci,
    "factorial": lambda value: math.factorial(int(value)),
}
