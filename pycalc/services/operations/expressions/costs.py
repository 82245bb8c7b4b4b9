"""The measured costs of an expression's arithmetic, in seconds on one core, mostly by decimal digits."""

from __future__ import annotations

from pycalc.services.operations.numbers.thresholds import POWER_RESIDUE_SECONDS, Costs, seconds

NODE = 5e-7  # the interpreter's share of a node's value, and of its verification
JOIN = 1.5e-7  # the interpreter's share of a term that is added or multiplied
PEEK = 3e-6  # the bounds of a small part, which an evaluation needs for a decision
RESIDUE = 4e-6  # the fixed cost of a residue within a tree
FLINT = 5e-4  # less than its import takes, but more than the event loop may compute
WHOLE = 5e-5  # the fixed cost of every expression

_MULTIPLY: Costs = ((20, 4e-8), (1e3, 8.6e-7), (1e4, 2.7e-5), (1e5, 6.7e-4), (1e6, 0.0132), (1e7, 0.173))
_GCD: Costs = ((20, 2e-7), (1e3, 9.2e-6), (1e4, 8.3e-4), (1e5, 0.016), (1e6, 0.29), (1e7, 5.0))
_TEXT: Costs = ((20, 1e-7), (1e3, 2.9e-6), (1e4, 6.7e-5), (1e5, 4.2e-3), (1e6, 0.049), (1e7, 1.0))
_ROUNDED: Costs = ((50, 1.5e-4), (500, 4.4e-4), (1_000, 9.6e-4), (3_000, 6e-3), (10_000, 0.04))
_FACTOR: Costs = ((20, 1e-5), (50, 2e-5), (64, 5e-5), (75, 2e-4), (100, 5e-4), (110, 1e-3), (128, 4e-3))
_SHORTEST_PIECE = 300  # digits; shorter factors take no less time for each digit of the longer one


def add(digits: float) -> float:
    """Estimate the seconds for a sum of operands that have so many digits together."""
    return 2e-11 * digits


def multiply(left: float, right: float) -> float:
    """Estimate the seconds for a product of numbers of so many digits.

    The longer number is cut into pieces of the shorter one's length.
    """
    short, long = sorted((left, right))
    piece = max(short, min(long, _SHORTEST_PIECE), 1.0)
    return seconds(_MULTIPLY, piece) * max(1.0, long / piece)


def join(digits: float, terms: float) -> float:
    """Estimate the seconds to multiply ``terms`` factors in a balanced tree, for a product of so many digits."""
    total, parts = 0.0, 1
    while parts < terms:
        half = digits / parts / 2
        total += parts * multiply(half, half)
        parts *= 2
    return total


def divide(left: float, right: float) -> float:
    """Estimate the seconds for a quotient of numbers of so many digits."""
    return 1.2 * multiply(max(left - right, 0.0), right)


def power(digits: float) -> float:
    """Estimate the seconds for a power whose value has so many digits."""
    return 0.7 * seconds(_MULTIPLY, digits)


def root(digits: float) -> float:
    """Estimate the seconds to find whether a number of so many digits has an exact root."""
    return seconds(_MULTIPLY, digits)


def gcd(left: float, right: float) -> float:
    """Estimate the seconds for the greatest common divisor of numbers of so many digits."""
    return seconds(_GCD, min(left, right)) + divide(max(left, right), min(left, right))


def text(digits: float) -> float:
    """Estimate the seconds to write a number in decimal digits, or to read it."""
    return seconds(_TEXT, digits)


def rounded(digits: float) -> float:
    """Estimate the seconds for an irrational power of so many digits, and its verification."""
    return seconds(_ROUNDED, digits)


def residue_of_power(exponent_bits: float, modulus_bits: float) -> float:
    """Estimate the seconds for a power modulo a number, by the bits of the exponent and of the modulus."""
    return exponent_bits * seconds(POWER_RESIDUE_SECONDS, modulus_bits)


def factor(bits: float) -> float:
    """Estimate the seconds to find the prime factors of a modulus of so many bits."""
    return seconds(_FACTOR, bits)
