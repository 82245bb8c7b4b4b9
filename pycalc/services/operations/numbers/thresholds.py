"""All measured constants: the sizes at which one arithmetic is faster than the other, and the costs.

``python benchmarks/thresholds.py`` measures them and prints this file's values for the machine it runs on.
"""

from __future__ import annotations

from bisect import bisect_left
from math import exp, log

FIBONACCI_DECIMAL_DIGITS = 700_000  # from this size of F(n) on, the last doublings are done in decimal
FIBONACCI_SEED_DIGITS = 30_000  # the largest Fibonacci number that is handed from GMP to decimal
POWER_DECIMAL_DIGITS = 120_000  # from this size of base^k on, the last squarings are done in decimal
POWER_SEED_DIGITS = 30_000  # the largest power that is handed from GMP to decimal
FACTORIAL_DECIMAL_DIGITS = 1_200_000  # from this size of n! on, the last products are done in decimal
FACTORIAL_SEED_DIGITS = 200_000  # the largest partial product that is handed from GMP to decimal
# From this n on, n! mod p is reached in O(sqrt(n)) steps rather than by n multiplications.
FACTORIAL_RESIDUE_STEPS = 10_000

Costs = tuple[tuple[float, float], ...]

FIBONACCI_SECONDS: Costs = ((21, 1e-5), (1e3, 2.6e-5), (1e4, 1.8e-4), (2e5, 0.012), (2e6, 0.14), (2e7, 2.3))
POWER_SECONDS: Costs = ((50, 1e-5), (1e3, 2.3e-5), (1e4, 1.6e-4), (1.9e5, 0.008), (1.9e6, 0.089), (2e7, 1.25))
FACTORIAL_SECONDS: Costs = ((65, 1.2e-5), (1.1e3, 9e-5), (9e3, 5e-4), (4.5e5, 0.037), (5.6e6, 0.62), (2.1e7, 2.8))
ROUNDED_SECONDS: Costs = ((50, 1.5e-4), (500, 4.4e-4), (1_000, 9.6e-4), (3_000, 6e-3), (10_000, 0.04))
FIBONACCI_SUMMARY_SECONDS: Costs = (
    (64, 1e-4), (330, 1.1e-4), (1_000, 2e-4), (3_300, 6.6e-4), (10_000, 3.6e-3), (33_200, 0.025),
)  # fmt: skip
POWER_SUMMARY_SECONDS: Costs = (
    (64, 5e-5), (330, 1e-4), (1_000, 2.5e-4), (3_300, 8.9e-4), (10_000, 3.7e-3), (33_200, 0.022),
)  # fmt: skip
# The size and the ends of a result, by the bits of the index, or of the precision that a power needs.
FACTORIAL_SUMMARY_SECONDS: Costs = (
    (64, 2.3e-4), (330, 3.7e-4), (1_000, 6.5e-4), (3_300, 2.5e-3), (10_000, 0.014), (33_200, 0.09),
)  # fmt: skip
FIBONACCI_RESIDUE_SECONDS: Costs = (
    (64, 3.3e-7), (600, 6.5e-7), (1_000, 1e-6), (2_000, 2.7e-6), (4_000, 7.7e-6), (8_000, 2.3e-5), (33_200, 2e-4),
)  # fmt: skip
# Each bit of the index or the exponent, by the bits of the modulus.
POWER_RESIDUE_SECONDS: Costs = (
    (64, 8e-9), (200, 4.4e-8), (600, 1.4e-7), (1_000, 3.1e-7), (2_000, 1.1e-6), (4_000, 4e-6), (8_000, 1.1e-5),
    (33_200, 8.2e-5),
)  # fmt: skip
TEXT_SECONDS_PER_DIGIT = 5e-9  # for digits that are only written and checked, such as appended zeros
# A step of the O(sqrt(n)) residue of n!, by the bits of the modulus; there are sqrt(n)·log2(n)/20 of them.
FACTORIAL_RESIDUE_SECONDS: Costs = (
    (61, 7e-6), (200, 1.3e-5), (700, 2.8e-5), (1_500, 6.2e-5), (3_300, 1.7e-4), (8_000, 5e-4), (33_000, 3.3e-3),
)  # fmt: skip
FACTORIAL_RESIDUE_BYTES = 400
# The memory of the O(sqrt(n)) residue of n!, times sqrt(n), and that for each bit of the modulus.
FACTORIAL_RESIDUE_BYTES_PER_BIT = 5
# n! by GMP and one division, by n.
FACTORIAL_PRODUCT_SECONDS: Costs = ((1e3, 2e-5), (1e5, 6e-3), (1e6, 0.12), (1e7, 2.4))


def seconds(costs: Costs, size: float) -> float:
    """Return the seconds for ``size`` by log-log interpolation of ``costs``; beyond its end the last slope goes on."""
    if size <= costs[0][0]:
        return costs[0][1]
    right = min(bisect_left(costs, (size, 0.0)), len(costs) - 1)
    (x0, y0), (x1, y1) = costs[right - 1], costs[right]
    slope = log(y1 / y0) / log(x1 / x0)
    return y0 * exp(min(slope * (log(size) - log(x0)), 600.0))
