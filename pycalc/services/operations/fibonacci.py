"""Fibonacci numbers: F(0) = 0, F(1) = 1, F(n) = F(n-1) + F(n-2)."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, ClassVar

from pycalc.services.operations.base import Parameter, ResiduePlan
from pycalc.services.operations.integer_operation import Integers, SequenceOperation
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.decimals import decimal_of, exact_context
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.modular import fibonacci_residue
from pycalc.services.operations.numbers.texts import ENDS

_LOG_PHI = math.log10((1 + math.sqrt(5)) / 2)
# The period of the Fibonacci numbers modulo 10^20. That of the Lucas numbers, 3·10^19, divides it.
_PERIOD = 15 * 10 ** (ENDS - 1)


class Fibonacci(SequenceOperation):
    """F(n) for n >= 0, exactly."""

    name = "fibonacci"
    title = "Fibonacci number"
    description = "The n-th Fibonacci number, F(0) = 0 and F(1) = 1, in full."
    parameters = (Parameter("n", "natural", "The index, from 0.", "100"),)
    number = gmp.fib
    divisor: ClassVar[int] = 5  # F(n) is (φ^n ± φ^-n)/√5, and L(n) is φ^n ± φ^-n; the signs depend on n
    costs = thresholds.FIBONACCI_SECONDS
    counted = 10
    direct = 2**15
    summary_costs = thresholds.FIBONACCI_SUMMARY_SECONDS
    logarithm_width = 1

    def compute(self, args: Integers, precision: int) -> bytes:
        (n,) = args
        digits = self.digits(n)
        if digits < thresholds.FIBONACCI_DECIMAL_DIGITS:
            return super().compute(args, precision)
        levels = (digits // thresholds.FIBONACCI_SEED_DIGITS).bit_length()
        return str(fibonacci_decimal(n, levels)).encode()

    def residue(self, args: Integers, precision: int, prime: int) -> int:
        return self.modulo(args, prime)

    def plan_modulo(self, args: Integers, modulus: int) -> ResiduePlan:
        """Return the cost of the formulas that double the index."""
        bits, width = args[0].bit_length(), modulus.bit_length()
        # The first doublings are cheap, because their values are still shorter than a long modulus.
        wide = max(0, bits - width.bit_length())
        least = thresholds.seconds(thresholds.FIBONACCI_RESIDUE_SECONDS, 64)
        time = bits * least / 3 + (wide + 1) * thresholds.seconds(thresholds.FIBONACCI_RESIDUE_SECONDS, width)
        return ResiduePlan(thresholds.RESIDUE_OVERHEAD + time)

    def modulo(self, args: Integers, modulus: int, method: Any = None) -> int:
        return fibonacci_residue(args[0], modulus)

    def last_digits(self, n: int) -> int:
        return self.modulo((n % _PERIOD,), 10**ENDS)

    def approximate_logarithm(self, n: int) -> float:
        return n * _LOG_PHI - math.log10(self.divisor) / 2 if n < 10**9 else 1e9

    def logarithm(self, arithmetic: IntervalArithmetic, n: int) -> Interval:
        """Return an enclosure of log10((φ^n ± φ^-n)/√divisor). Leaving out φ^-n changes it by less than 2^-n."""
        phi = (arithmetic.integer(5).sqrt() + 1) / 2
        tail = gmp.exp2(gmp.mpfr(-min(n, 2**20)))  # 2^-(2^20) is small enough for a larger n
        numerator = phi.log10() * n + Interval(arithmetic, -tail, tail)
        return numerator - arithmetic.integer(self.divisor).log10() / 2


def fibonacci_decimal(n: int, levels: int) -> Decimal:
    """Return F(``n``) for n >= 2^``levels``, from GMP's seed and ``levels`` >= 1 doublings in decimal.

    The last one is a single product: F(2k) = F(k)·L(k), F(2k+1) = F(k+1)·L(k) - (-1)^k, with L(k) = 2·F(k+1) - F(k).
    """
    context = exact_context()
    k = n >> levels
    current, previous = gmp.fib2(k)
    following = decimal_of(current + previous)
    current = decimal_of(current)
    for level in range(levels - 1, 0, -1):
        # F(2k+1) = F(k)² + F(k+1)² and, by Cassini's identity, F(2k) = 2·F(k+1)² - 3·F(k)² - 2(-1)^k.
        square, following = context.multiply(current, current), context.multiply(following, following)
        current = context.subtract(context.multiply(following, Decimal(2)), context.multiply(square, Decimal(3)))
        current = context.add(current, Decimal(2 if k & 1 else -2))
        following = context.add(square, following)
        k = n >> level
        if k & 1:
            current, following = following, context.add(current, following)
    lucas = context.subtract(context.multiply(following, Decimal(2)), current)
    if n & 1:
        del current
        return context.add(context.multiply(following, lucas), Decimal(1 if k & 1 else -1))
    del following
    return context.multiply(current, lucas)
