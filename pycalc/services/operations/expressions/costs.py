"""The measured costs of arithmetic in expressions, in seconds on one core, mostly by the number of decimal digits."""

from __future__ import annotations

from functools import partial

from pycalc.services.operations.numbers.thresholds import POWER_RESIDUE_SECONDS, Costs, seconds

NODE = 5e-7  # the interpreter's share of a node's value, and of its verification
JOIN = 1.5e-7  # the interpreter's share of a term that is added or multiplied
LOOP = 1e-5  # the fixed cost of a sum or a product
SIZE = 1.6e-5  # the bounds of a node in a loop's body, which are found each time the loop begins
COLUMN = 8e-8  # the interpreter's share of a node's value, and of a joined term, in a loop computed in columns
ENCLOSE = 4e-6  # the fixed cost of an operation on enclosures
PEEK = 4e-6  # the bounds of a small part of an expression, which decide how that part is evaluated
RESIDUE = 1e-6  # the fixed cost of a residue within a tree
LONG_CALL = 0.03  # the choice of a method, for a function whose residue modulo a prime takes long
WHOLE = 5e-5  # the fixed cost of every expression

_MULTIPLY: Costs = ((20, 4e-8), (1e3, 8.6e-7), (1e4, 2.7e-5), (1e5, 6.7e-4), (1e6, 0.0132), (1e7, 0.173))
_GCD: Costs = ((20, 2e-7), (1e3, 9.2e-6), (1e4, 8.3e-4), (1e5, 0.016), (1e6, 0.29), (1e7, 5.0))
_TEXT: Costs = ((20, 1e-7), (1e3, 2.9e-6), (1e4, 6.7e-5), (1e5, 4.2e-3), (1e6, 0.049), (1e7, 1.0))
# An enclosure of an irrational power, and the rounding of an enclosure to a decimal.
_ENCLOSED: Costs = (
    (50, 6e-6), (200, 9e-6), (500, 2.2e-5), (1_000, 4.5e-5), (3_000, 2.2e-4), (1e4, 1.3e-3), (1e5, 0.045), (3e5, 0.2),
)  # fmt: skip
_ROUNDED: Costs = ((50, 5e-6), (500, 1.1e-5), (1_000, 2e-5), (3_000, 7.6e-5), (10_000, 4.3e-4))
_FACTOR: Costs = ((20, 1e-5), (50, 2e-5), (64, 5e-5), (75, 2e-4), (100, 5e-4), (110, 1e-3), (128, 4e-3))
_SHORTEST_PIECE = 300  # digits; shorter factors take no less time for each digit of the longer one

# Each of these functions estimates the seconds of one task from a number of decimal digits, or of bits.
root = partial(seconds, _MULTIPLY)  # decide whether a number of so many digits has an exact root
text = partial(seconds, _TEXT)  # write or read a number of so many digits
rounded = partial(seconds, _ROUNDED)  # round an enclosure to so many digits and write the result
factor = partial(seconds, _FACTOR)  # find the prime factors of a modulus of so many bits


def add(digits: float) -> float:
    """Estimate the seconds for a sum of operands that have ``digits`` digits in total."""
    return 2e-11 * digits


def multiply(left: float, right: float) -> float:
    """Estimate the seconds for a product of numbers of ``left`` and ``right`` digits."""
    short, long = sorted((left, right))  # the longer number is cut into pieces as long as the shorter number
    piece = max(short, min(long, _SHORTEST_PIECE), 1.0)
    return seconds(_MULTIPLY, piece) * max(1.0, long / piece)


def join(digits: float, terms: float) -> float:
    """Estimate the seconds to multiply ``terms`` factors in a balanced tree, for a product of ``digits`` digits."""
    total, parts = 0.0, 1
    while parts < terms:
        half = digits / parts / 2
        total += parts * multiply(half, half)
        parts *= 2
    return total


def joined(name: str, terms: int, above: float, below: float, *, is_nested: bool) -> float:
    """Estimate the seconds to join the terms of a ``sum`` or ``prod``, whose digits are ``above`` and ``below`` in all.

    If the sum is ``is_nested``, each denominator divides the next, and the last is that of the sum.
    """
    total = join(above, terms) if name == "prod" else 0.0
    if not below:
        return total
    if is_nested:
        return total + 3 * terms * multiply(below / terms, below / terms)
    # Sums get a common denominator; of two products, each numerator is reduced by the other denominator.
    joins, other = (1, above) if name == "prod" else (2, below)
    return total + joins * join(below, terms) + 2 * gcd(other / 2, below / 2)


def divide(left: float, right: float) -> float:
    """Estimate the seconds for a quotient of numbers of ``left`` and ``right`` digits."""
    return 1.2 * multiply(max(left - right, 0.0), right)


def step(operator: str, left: tuple[float, float], right: tuple[float, float]) -> float:
    """Estimate the seconds for a step of a chain, from the digits of each side's numerator and denominator.

    For fractions this includes greatest common divisors, as GMP reduces them.
    """
    (a, b), (c, d) = left, right
    if operator in "+-":
        return add(a + b + c + d) + (gcd(b, d) + multiply(a, d) + multiply(b, c) if b or d else 0.0)
    if operator in ("//", "%") and not (b or d):
        return divide(a, c)
    total = multiply(a, c) if operator == "*" else 0.0
    if operator != "*":
        c, d = d, c  # a quotient is a product with the reciprocal
    if b or d:
        total += gcd(a, d) + gcd(b, c) + multiply(b, d)
    return total + (divide(a + c, b + d) if operator in ("//", "%") else 0.0)


def power(digits: float) -> float:
    """Estimate the seconds for a power with ``digits`` digits."""
    return 0.7 * seconds(_MULTIPLY, digits)


def gcd(left: float, right: float) -> float:
    """Estimate the seconds for the greatest common divisor of numbers of ``left`` and ``right`` digits."""
    return seconds(_GCD, min(left, right)) + divide(max(left, right), min(left, right))


def enclosed(digits: float, *, square_root: bool = False) -> float:
    """Estimate the seconds for an enclosure of an irrational power, or of a square root, with ``digits`` digits."""
    return 2 * ENCLOSE + seconds(_MULTIPLY, digits) if square_root else seconds(_ENCLOSED, digits)


def residue_of_power(exponent_bits: float, modulus_bits: float) -> float:
    """Estimate the seconds for a power modulo a number, from the bits of the exponent and of the modulus."""
    return exponent_bits * seconds(POWER_RESIDUE_SECONDS, modulus_bits)
