"""Factorials: n! = 1·2·...·n, 0! = 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import lgamma, log
from typing import Any

from pycalc.services.operations.base import Estimate, Modular, Parameter, ResiduePlan, ResultSummary, Summarisable
from pycalc.services.operations.factorial.modulo import FactorialPlan, plan_factorial, plan_memory, plan_seconds
from pycalc.services.operations.factorial.residue import factorial_residue
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.decimals import decimal_of, exact_context
from pycalc.services.operations.numbers.gmp import gmp, mpz, text_of
from pycalc.services.operations.numbers.growth import Ends, digits_by_logarithm, ends_by_logarithm
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.literals import integer_json, key_of, parse_natural
from pycalc.services.operations.numbers.modular import checked_modulus
from pycalc.services.operations.numbers.primes import factorial_factors, product

_SMALL = 1_000
_BERNOULLI = (
    (1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510), (43867, 798), (-174611, 330),
    (854513, 138), (-236364091, 2730), (8553103, 6), (-23749461029, 870),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FactorialArgs:
    """The arguments of ``factorial``: the number of factors."""

    n: int = field(repr=False)


class Factorial(Modular[FactorialArgs], Summarisable[FactorialArgs]):
    """n! for n >= 0, exactly."""

    name = "factorial"
    title = "Factorial"
    description = "The product of the whole numbers from 1 to n, in full; 0! = 1."
    parameters = (Parameter("n", "natural", "How many factors, from 0.", "100"),)
    quick_modulo_length = 4

    def parse(self, raw: Mapping[str, str]) -> FactorialArgs:
        return FactorialArgs(parse_natural(raw, "n"))

    def input(self, args: FactorialArgs) -> dict[str, int | str]:
        return {"n": integer_json(args.n)}

    def key(self, args: FactorialArgs, precision: int) -> str:
        return key_of(self.name, text_of(args.n))

    def estimate(self, args: FactorialArgs, precision: int) -> Estimate:
        digits = factorial_digits(args.n)
        return Estimate(digits, thresholds.seconds(thresholds.FACTORIAL_SECONDS, digits), True, least=digits - 1)

    def compute(self, args: FactorialArgs, precision: int) -> bytes:
        digits = factorial_digits(args.n)
        if digits < thresholds.FACTORIAL_DECIMAL_DIGITS:
            return gmp.fac(args.n).digits().encode()  # type: ignore[no-any-return]
        return factorial_decimal(args.n, (digits // thresholds.FACTORIAL_SEED_DIGITS).bit_length())

    def residue(self, args: FactorialArgs, precision: int, prime: int) -> int:
        return factorial_residue(args.n, prime)

    def summary(self, args: FactorialArgs, precision: int) -> ResultSummary:
        if args.n < _SMALL:
            return ResultSummary(*Ends.of_text(text_of(int(gmp.fac(args.n)))), exact=True)
        return ResultSummary(*ends_by_logarithm(StirlingLogarithm(args.n), 2 * args.n.bit_length() + 20, 0), exact=True)

    def summary_seconds(self, args: FactorialArgs) -> float:
        if args.n < _SMALL:
            return 3e-6 + args.n * 3e-8
        return thresholds.seconds(thresholds.FACTORIAL_SUMMARY_SECONDS, args.n.bit_length())

    def plan_modulo(self, args: FactorialArgs, modulus: int) -> ResiduePlan:
        plan = plan_factorial(args.n, checked_modulus(modulus))
        return ResiduePlan(plan_seconds(plan, args.n), plan_memory(plan, args.n), plan)

    def modulo(self, args: FactorialArgs, modulus: int, method: Any = None) -> int:
        plan: FactorialPlan = method or plan_factorial(args.n, checked_modulus(modulus))
        return plan.residue(args.n)

    def modulo_agrees(self, args: FactorialArgs, modulus: int, method: Any, residue: int, prime: int) -> bool:
        """Return whether ``residue`` is n! modulo ``modulus``.

        If the plan has no mirror, n! is computed modulo ``modulus``·``prime`` for this. If it has one, ``mirror``! is
        computed modulo ``rough``·``prime``, and ``residue`` must agree with this by Wilson's theorem.
        """
        plan: FactorialPlan = method
        if plan.mirror is None:
            wider = plan._replace(rough=plan.rough * prime).residue(args.n)
            return wider % modulus == residue and self.agrees_modulo(args, wider % prime, prime)
        mirrored = FactorialArgs(plan.mirror)
        wider = FactorialPlan(1, plan.rough * prime).residue(plan.mirror)
        product = residue * wider if plan.mirror % 2 else -residue * wider
        fits = residue % plan.smooth == 0 and product % plan.rough == 1
        return fits and self.agrees_modulo(mirrored, wider % prime, prime)


def factorial_digits(n: int) -> int:
    """Return the exact number of decimal digits of ``n``!, from Stirling's series if n >= 1,000."""
    if n < _SMALL:
        return len(text_of(int(gmp.fac(n))))
    approximate = lgamma(n + 1) / log(10) if n < 10**8 else 1e9
    return digits_by_logarithm(approximate, StirlingLogarithm(n), 2 * n.bit_length() + 60)


def factorial_decimal(n: int, levels: int) -> bytes:
    """Return the text of ``n``!, with the last ``levels`` squarings done in decimal.

    Let L[i] be the product of the i-th list from ``factorial_factors``. Begin with r = 1. For each i, from the last to
    the first, r becomes r·r·L[i], as in Horner's rule. The power of ten is appended as zeros.
    """
    by_bit, zeros = factorial_factors(n)
    products = [product(primes) for primes in by_bit]
    del by_bit
    head: Any = mpz(1)
    while len(products) > levels:
        head = head * head * products.pop()
    context = exact_context()
    result = decimal_of(head)
    while products:
        factor = decimal_of(products.pop())
        factor = context.multiply(result, factor)
        result = context.multiply(result, factor)
    del factor
    text = str(result)
    del result
    return (text + "0" * zeros).encode()


class StirlingLogarithm:
    """An enclosure of log10 n! for n >= 1,000, by Stirling's series.

    The error of the series is smaller than its first omitted term, which is below n^-25.
    """

    def __init__(self, n: int) -> None:
        self._n = n

    def __call__(self, arithmetic: IntervalArithmetic) -> Interval:
        one, two, n = (arithmetic.integer(value) for value in (1, 2, self._n))
        half = arithmetic.divide(one, two)
        log = arithmetic.subtract(arithmetic.multiply(arithmetic.add(n, half), arithmetic.log(n)), n)
        circle = arithmetic.log(arithmetic.multiply(two, arithmetic.pi()))
        log = arithmetic.add(log, arithmetic.multiply(half, circle))
        return arithmetic.divide(self._with_series(arithmetic, log, n), arithmetic.log(arithmetic.integer(10)))

    def _with_series(self, arithmetic: IntervalArithmetic, log: Interval, n: Interval) -> Interval:
        power, square = n, arithmetic.multiply(n, n)
        term = arithmetic.integer(0)
        for k, (numerator, denominator) in enumerate(_BERNOULLI, 1):
            log = arithmetic.add(log, term)
            divisor = arithmetic.multiply(arithmetic.integer(denominator * 2 * k * (2 * k - 1)), power)
            term = arithmetic.divide(arithmetic.integer(numerator), divisor)
            power = arithmetic.multiply(power, square)
        beyond = arithmetic.add(log, term)
        return Interval(min(log.low, beyond.low), max(log.high, beyond.high))
