"""Every measured constant in one place: where one arithmetic takes over from the other, and what things cost.

``python benchmarks/thresholds.py`` measures them and prints this file's values for the machine it runs on.
"""

from __future__ import annotations

from bisect import bisect_left
from math import exp, log

FIBONACCI_DECIMAL_DIGITS = 700_000
"""From this size of F(n) on, the last doublings are done in decimal."""
FIBONACCI_SEED_DIGITS = 30_000
"""The largest Fibonacci number that is handed from GMP to decimal."""
POWER_DECIMAL_DIGITS = 120_000
"""From this size of base^k on, the last squarings are done in decimal."""
POWER_SEED_DIGITS = 30_000
"""The largest power that is handed from GMP to decimal."""
FACTORIAL_DECIMAL_DIGITS = 1_200_000
"""From this size of n! on, the last products are done in decimal."""
FACTORIAL_SEED_DIGITS = 200_000
"""The largest partial product that is handed from GMP to decimal."""
FACTORIAL_RESIDUE_STEPS = 10_000
"""From this n on, n! mod p is reached in O(sqrt(n)) steps rather than by n multiplications."""

Costs = tuple[tuple[float, float], ...]

FIBONACCI_SECONDS: Costs = ((21, 1e-5), (1e3, 2.6e-5), (1e4, 1.8e-4), (2e5, 0.012), (2e6, 0.14), (2e7, 2.3))
POWER_SECONDS: Costs = ((50, 1e-5), (1e3, 2.3e-5), (1e4, 1.6e-4), (1.9e5, 0.008), (1.9e6, 0.089), (2e7, 1.25))
FACTORIAL_SECONDS: Costs = ((65, 1.2e-5), (1.1e3, 9e-5), (9e3, 5e-4), (4.5e5, 0.037), (5.6e6, 0.62), (2.1e7, 2.8))
ROUNDED_SECONDS: Costs = ((50, 1.5e-4), (500, 4.4e-4), (1_000, 9.6e-4), (3_000, 6e-3), (10_000, 0.04))
TEXT_SECONDS_PER_DIGIT = 2e-9
"""For digits that are only written and checked, such as appended zeros."""
FACTORIAL_RESIDUE_SECONDS_PER_STEP = 1e-5
"""Times sqrt(n)·(bits of the modulus / 61), for the O(sqrt(n)) residue of n!."""
FACTORIAL_PRODUCT_SECONDS: Costs = ((1e3, 2e-5), (1e5, 6e-3), (1e6, 0.12), (1e7, 2.4))
"""n! by GMP and one division, by n."""


def seconds(costs: Costs, size: float) -> float:
    """The time for ``size`` on the measured curve: log-log interpolation, its last slope carried on; never infinite."""
    if size <= costs[0][0]:
        return costs[0][1]
    right = min(bisect_left(costs, (size, 0.0)), len(costs) - 1)
    (x0, y0), (x1, y1) = costs[right - 1], costs[right]
    slope = log(y1 / y0) / log(x1 / x0)
    return y0 * exp(min(slope * (log(size) - log(x0)), 600.0))
