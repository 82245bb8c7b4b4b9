"""Fibonacci numbers: F(0) = 0, F(1) = 1, F(n) = F(n-1) + F(n-2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pycalc.services.operations.base import Estimate, Modular, Parameter, ResiduePlan, ResultSummary, Summarisable
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.decimals import decimal_of, exact_context
from pycalc.services.operations.numbers.gmp import gmp, text_of
from pycalc.services.operations.numbers.growth import Ends, digits_by_logarithm, ends_by_logarithm
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.literals import integer_json, key_of, parse_natural
from pycalc.services.operations.numbers.modular import checked_modulus, fibonacci_residue
from pycalc.services.operations.numbers.texts import ENDS

_LOG_PHI = math.log10((1 + math.sqrt(5)) / 2)
_LOG_SQRT5 = math.log10(5) / 2
_SMALL = 20_000
_PERIOD = 15 * 10 ** (ENDS - 1)  # the period of the Fibonacci numbers modulo 10^20


@dataclass(frozen=True, slots=True)
class FibonacciArgs:
    """The arguments of ``fibonacci``: the index."""

    n: int = field(repr=False)


class Fibonacci(Modular[FibonacciArgs], Summarisable[FibonacciArgs]):
    """F(n) for n >= 0, exactly."""

    name = "fibonacci"
    title = "Fibonacci number"
    description = "The n-th Fibonacci number, F(0) = 0 and F(1) = 1, in full."
    parameters = (Parameter("n", "natural", "The index, from 0.", "100"),)

    def parse(self, raw: Mapping[str, str]) -> FibonacciArgs:
        return FibonacciArgs(parse_natural(raw, "n"))

    def input(self, args: FibonacciArgs) -> dict[str, int | str]:
        return {"n": integer_json(args.n)}

    def key(self, args: FibonacciArgs, precision: int) -> str:
        return key_of(self.name, text_of(args.n))

    def estimate(self, args: FibonacciArgs, precision: int) -> Estimate:
        digits = fibonacci_digits(args.n)
        return Estimate(digits, thresholds.seconds(thresholds.FIBONACCI_SECONDS, digits), True, least=digits - 1)

    def compute(self, args: FibonacciArgs, precision: int) -> bytes:
        digits = fibonacci_digits(args.n)
        if digits < thresholds.FIBONACCI_DECIMAL_DIGITS:
            return gmp.fib(args.n).digits().encode()  # type: ignore[no-any-return]
        levels = (digits // thresholds.FIBONACCI_SEED_DIGITS).bit_length()
        return str(fibonacci_decimal(args.n, levels)).encode()

    def residue(self, args: FibonacciArgs, precision: int, prime: int) -> int:
        return fibonacci_residue(args.n, prime)

    def summary(self, args: FibonacciArgs, precision: int) -> ResultSummary:
        if args.n < _SMALL:
            return ResultSummary(*Ends.of_text(text_of(int(gmp.fib(args.n)))), exact=True)
        last = fibonacci_residue(args.n % _PERIOD, 10**ENDS)
        return ResultSummary(*ends_by_logarithm(_Logarithm(args.n), args.n.bit_length() + 20, last), exact=True)

    def summary_seconds(self, args: FibonacciArgs) -> float:
        if args.n < _SMALL:
            return 3e-6 + args.n * 1.2e-9
        return thresholds.seconds(thresholds.FIBONACCI_SUMMARY_SECONDS, args.n.bit_length())

    def plan_modulo(self, args: FibonacciArgs, modulus: int) -> ResiduePlan:
        return ResiduePlan(thresholds.fibonacci_residue_seconds(args.n, checked_modulus(modulus)))

    def modulo(self, args: FibonacciArgs, modulus: int, method: Any = None) -> int:
        return fibonacci_residue(args.n, checked_modulus(modulus))


def fibonacci_digits(n: int) -> int:
    """Return the number of decimal digits of F(``n``), exactly, from n·log10(φ) - log10(√5)."""
    if n < 10:
        return 1 if n < 7 else 2
    approximate = n * _LOG_PHI - _LOG_SQRT5 if n < 10**9 else 1e9
    return digits_by_logarithm(approximate, _Logarithm(n), n.bit_length() + 60)


def fibonacci_decimal(n: int, levels: int) -> Decimal:
    """Return F(``n``), with the last ``levels`` doublings done in decimal, from a seed that GMP computes.

    ``levels`` must be at least 1, and ``n`` at least 2^``levels``.

    Each doubling costs two squarings: F(2k+1) = F(k)² + F(k+1)² and F(2k) = 2·F(k+1)² - 3·F(k)² - 2(-1)^k (Cassini's
    identity in the doubling formula). The last doubling costs a single product: F(2k) = F(k)·L(k),
    F(2k+1) = F(k+1)·L(k) - (-1)^k, with L(k) = 2·F(k+1) - F(k).
    """
    context = exact_context()
    k = n >> levels
    current, previous = gmp.fib2(k)
    following = decimal_of(current + previous)
    current = decimal_of(current)
    for level in range(levels - 1, 0, -1):
        current, following = _doubled(current, following, odd=bool(k & 1))
        k = n >> level
        if k & 1:
            current, following = following, context.add(current, following)
    lucas = context.subtract(context.multiply(following, Decimal(2)), current)
    if n & 1:
        del current
        return context.add(context.multiply(following, lucas), Decimal(1 if k & 1 else -1))
    del following
    return context.multiply(current, lucas)


def _doubled(current: Decimal, following: Decimal, odd: bool) -> tuple[Decimal, Decimal]:
    """Return F(2k) and F(2k+1) from F(k) and F(k+1); ``odd`` says whether k is odd."""
    context = exact_context()
    square = context.multiply(current, current)
    next_square = context.multiply(following, following)
    difference = context.subtract(context.multiply(next_square, Decimal(2)), context.multiply(square, Decimal(3)))
    return context.add(difference, Decimal(2 if odd else -2)), context.add(square, next_square)


class _Logarithm:
    """An enclosure of log10 F(n) = n·log10(φ) - log10(√5) + log10(1 ± φ^-2n).

    The last term is below 10^-0.4n and is not computed. Instead, the enclosure is widened by more than this term.
    """

    def __init__(self, n: int) -> None:
        self._n = n

    def __call__(self, arithmetic: IntervalArithmetic) -> Interval:
        five = arithmetic.integer(5)
        phi = arithmetic.divide(arithmetic.add(arithmetic.sqrt(five), arithmetic.integer(1)), arithmetic.integer(2))
        growth = arithmetic.multiply(arithmetic.log10(phi), arithmetic.integer(self._n))
        log = arithmetic.subtract(growth, arithmetic.divide(arithmetic.log10(five), arithmetic.integer(2)))
        tail = gmp.exp2(gmp.mpfr(-min(self._n, 2**20)))
        return arithmetic.add(log, Interval(-tail, tail))
