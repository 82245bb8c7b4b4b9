"""The cost of greatest common divisors, and the proof that two numbers are coprime."""

from __future__ import annotations

from typing import Any

from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.thresholds import Costs, seconds

# Seconds by the bits of the shorter operand; to these are added seconds for each bit of the longer operand.
_SECONDS: Costs = (
    (64, 5e-6), (1_000, 9e-6), (3_300, 2.2e-5), (10_000, 8e-5), (33_200, 5e-4), (332_000, 0.014), (3_320_000, 0.3),
)  # fmt: skip
_DIVISION_SECONDS_PER_BIT = 1e-10
# Seconds for a product and its text, by the bits of the product.
_TEXT_SECONDS: Costs = (
    (64, 5e-7), (1_000, 3e-6), (3_300, 9e-6), (10_000, 4e-5), (33_200, 2.4e-4), (332_000, 7e-3), (3_320_000, 0.13),
)  # fmt: skip


def gcd_seconds(a: int, b: int) -> float:
    """Estimate the seconds for the greatest common divisor of ``a`` and ``b``, on one core."""
    short, long = sorted((a.bit_length(), b.bit_length()))
    return seconds(_SECONDS, short) + long * _DIVISION_SECONDS_PER_BIT


def text_seconds(bits: int) -> float:
    """Estimate the seconds to compute a product of ``bits`` bits and to write its text, on one core."""
    return seconds(_TEXT_SECONDS, bits)


def are_coprime(a: Any, b: Any) -> bool:
    """Return whether ``a`` and ``b`` are coprime, proved by Bézout's identity: s·a + t·b = 1 for some s and t."""
    _, s, t = gmp.gcdext(a, b)
    return bool(s * a + t * b == 1)
