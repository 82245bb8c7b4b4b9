"""Measured constants: the sizes from which decimal arithmetic is faster than GMP, and the costs of operations.

``python benchmarks/thresholds.py`` measures most of them anew and prints the values for the machine it runs on.
"""

from __future__ import annotations

from bisect import bisect_left
from math import exp, log

FIBONACCI_DECIMAL_DIGITS = 700_000  # from this size of F(n) on, the last doublings are done in decimal
FIBONACCI_SEED_DIGITS = 30_000  # about the largest Fibonacci number that is handed from GMP to decimal
POWER_DECIMAL_DIGITS = 120_000  # from this size of base^k on, the last squarings are done in decimal
POWER_SEED_DIGITS = 30_000  # about the largest power that is handed from GMP to decimal
FACTORIAL_DECIMAL_DIGITS = 1_200_000  # from this size of n! on, the last products are done in decimal
FACTORIAL_SEED_DIGITS = 200_000  # about the largest partial product that is handed from GMP to decimal
# From this n on, n! mod p takes O(sqrt(n) log n) operations instead of n multiplications.
FACTORIAL_RESIDUE_STEPS = 10_000

Costs = tuple[tuple[float, float], ...]

# Seconds for a value and, if its text has over 1,000 characters, its verification, by the digits of the result.
FIBONACCI_SECONDS: Costs = (
    (21, 5e-6), (210, 6e-6), (1_000, 1.1e-5), (1_001, 3e-5), (2_100, 4.3e-5), (6_300, 1.1e-4), (2.1e4, 4.5e-4),
    (6.3e4, 2e-3), (2.1e5, 0.0105), (2.1e6, 0.13), (2e7, 2.1),
)  # fmt: skip
POWER_SECONDS: Costs = (
    (48, 5.5e-6), (480, 8e-6), (1_000, 1.1e-5), (1_001, 2.8e-5), (2_400, 4.4e-5), (4_800, 8e-5), (1.4e4, 2.7e-4),
    (4.8e4, 1.3e-3), (9.5e4, 3.4e-3), (2.4e5, 8.5e-3), (4.8e5, 0.018), (1.4e6, 0.063), (4.8e6, 0.2), (2e7, 1.15),
)  # fmt: skip
FACTORIAL_SECONDS: Costs = (
    (19, 5e-6), (160, 6.2e-6), (375, 9e-6), (1_000, 1.7e-5), (1_001, 7.3e-5), (2_000, 1.25e-4), (4_100, 2.2e-4),
    (9_100, 4.6e-4), (2e4, 1.03e-3), (4.4e4, 2.3e-3), (1.2e5, 7e-3), (4.6e5, 0.033), (9.7e5, 0.079), (2.6e6, 0.24),
    (5.6e6, 0.55), (2.1e7, 2.6),
)  # fmt: skip
ROUNDED_SECONDS: Costs = (
    (10, 3.3e-5), (50, 4.3e-5), (200, 7.5e-5), (500, 1.7e-4), (999, 3.6e-4), (1_000, 8.3e-4), (3_000, 4.6e-3),
    (10_000, 0.034),
)  # fmt: skip
ROUNDED_SECONDS_PER_DIGIT = 1e-8  # for each digit of the operands
# Seconds for a summary, by the bits of the index; for a power, by the bits of precision that it needs.
FIBONACCI_SUMMARY_SECONDS: Costs = (
    (10, 3e-6), (12, 5.5e-6), (15, 4e-5), (16, 7.5e-5), (60, 8e-5), (200, 9e-5), (330, 1.1e-4), (660, 1.4e-4),
    (1_000, 1.9e-4), (2_000, 3.5e-4), (3_000, 5.7e-4), (10_000, 3.6e-3), (33_200, 0.025),
)  # fmt: skip
POWER_SUMMARY_SECONDS: Costs = (
    (230, 4e-5), (480, 9e-5), (900, 1.05e-4), (1_150, 1.4e-4), (2_300, 2.6e-4), (3_300, 4.5e-4), (10_000, 2.7e-3),
    (33_200, 0.018),
)  # fmt: skip
FACTORIAL_SUMMARY_SECONDS: Costs = (
    (6, 3e-6), (10, 1.8e-5), (11, 2.1e-4), (60, 2.3e-4), (100, 2.4e-4), (200, 2.7e-4), (330, 3.1e-4), (660, 4.6e-4),
    (1_000, 6.4e-4), (2_000, 1.4e-3), (3_000, 2.3e-3), (10_000, 0.014), (33_200, 0.09),
)  # fmt: skip
# Seconds of a residue for each bit of the index or exponent, by the bits of the modulus.
FIBONACCI_RESIDUE_SECONDS: Costs = (
    (10, 1.1e-7), (64, 2.9e-7), (200, 5.4e-7), (600, 5.5e-7), (1_000, 9e-7), (2_000, 2.4e-6), (4_000, 6.8e-6),
    (8_000, 1.9e-5), (16_000, 5.5e-5), (33_200, 1.6e-4),
)  # fmt: skip
POWER_RESIDUE_SECONDS: Costs = (
    (64, 6e-9), (200, 4.5e-8), (600, 1.45e-7), (1_000, 3.2e-7), (2_000, 1.15e-6), (4_000, 4.2e-6), (8_000, 9.5e-6),
    (33_200, 8.2e-5),
)  # fmt: skip
RESIDUE_OVERHEAD = 5e-6  # seconds: the fixed cost of any residue
TEXT_SECONDS_PER_DIGIT = 5e-9  # for digits that are only written and checked, such as appended zeros
# Seconds for a step of the fast residue of n!, by the bits of the modulus. From n = 2^20 on, the residue takes
# sqrt(n)·log2(n)/20 such steps; below, it takes sqrt(n).
FACTORIAL_RESIDUE_SECONDS: Costs = (
    (61, 7e-6), (200, 1.3e-5), (700, 2.8e-5), (1_500, 6.2e-5), (3_300, 1.7e-4), (8_000, 5e-4), (33_000, 3.3e-3),
)  # fmt: skip
# Bytes of the fast residue of n!, divided by sqrt(n): a fixed part, and a part for each bit of the modulus.
FACTORIAL_RESIDUE_BYTES = 400
FACTORIAL_RESIDUE_BYTES_PER_BIT = 5
# Seconds for n! by GMP and one division, by n.
FACTORIAL_PRODUCT_SECONDS: Costs = (
    (20, 1.5e-6), (300, 2.5e-6), (1e3, 7e-6), (5e3, 6.5e-5), (1e4, 1.8e-4), (2e4, 5.7e-4), (1e5, 5.8e-3), (1e6, 0.115),
    (1e7, 2.3),
)  # fmt: skip


def seconds(costs: Costs, size: float) -> float:
    """Return the seconds for ``size`` by log-log interpolation of ``costs``. Above the last, the slope continues."""
    if size <= costs[0][0]:
        return costs[0][1]
    right = min(bisect_left(costs, (size, 0.0)), len(costs) - 1)
    (x0, y0), (x1, y1) = costs[right - 1], costs[right]
    slope = log(y1 / y0) / log(x1 / x0)
    return y0 * exp(min(slope * (log(size) - log(x0)), 600.0))  # a larger exponent might overflow
