"""Factorials: n! = 1·2·...·n, 0! = 1."""

from __future__ import annotations

from math import lgamma, log
from typing import Any

from pycalc.services.operations.base import Parameter, ResiduePlan
from pycalc.services.operations.factorial.modulo import FactorialPlan, plan_factorial
from pycalc.services.operations.factorial.residue import factorial_residues
from pycalc.services.operations.integer_operation import Integers, SequenceOperation
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.decimals import decimal_of, exact_context
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.primes import factorial_factors, product

_BERNOULLI = (
    (1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510), (43867, 798), (-174611, 330),
    (854513, 138), (-236364091, 2730), (8553103, 6), (-23749461029, 870),
)  # fmt: skip


class Factorial(SequenceOperation):
    """n! for n >= 0, exactly."""

    name = "factorial"
    title = "Factorial"
    description = "The product of the whole numbers from 1 to n, in full; 0! = 1."
    parameters = (Parameter("n", "natural", "How many factors, from 0.", "100"),)
    number = gmp.fac
    costs = thresholds.FACTORIAL_SECONDS
    counted, direct = 1_000, 2**10
    summary_costs = thresholds.FACTORIAL_SUMMARY_SECONDS
    quick_modulo_length = 4

    def compute(self, args: Integers, precision: int) -> bytes:
        digits = self.digits(args[0])
        if digits < thresholds.FACTORIAL_DECIMAL_DIGITS:
            return super().compute(args, precision)
        return factorial_decimal(args[0], (digits // thresholds.FACTORIAL_SEED_DIGITS).bit_length())

    def residue(self, args: Integers, precision: int, prime: int) -> int:
        return factorial_residues(args, prime)[0]

    def last_digits(self, n: int) -> int:
        return 0

    def approximate_logarithm(self, n: int) -> float:
        return lgamma(n + 1) / log(10) if n < 10**8 else 1e9

    def logarithm(self, arithmetic: IntervalArithmetic, n: int) -> Interval:
        return factorial_logarithm(arithmetic, n)

    def plan_modulo(self, args: Integers, modulus: int) -> ResiduePlan:
        return plan_factorial(args[0], modulus).cost(args[0])

    def modulo(self, args: Integers, modulus: int, method: Any = None) -> int:
        plan: FactorialPlan = method or plan_factorial(args[0], modulus)
        return plan.residue(args[0])

    def verify_modulo(self, args: Integers, modulus: int, method: Any, residue: int, prime: int) -> bool:
        """Return whether n!, or the smaller factorial by Wilson's theorem, is right modulo ``modulus``·``prime``."""
        plan: FactorialPlan = method
        if plan.mirror is None:
            wider = plan._replace(rough=plan.rough * prime).residue(args[0])
            return wider % modulus == residue and self.has_residue(args, wider % prime, prime)
        wider = FactorialPlan(1, plan.rough * prime).residue(plan.mirror)
        product = residue * wider if plan.mirror % 2 else -residue * wider
        fits = residue % plan.smooth == 0 and product % plan.rough == 1
        return fits and self.has_residue((plan.mirror,), wider % prime, prime)


def factorial_decimal(n: int, levels: int) -> bytes:
    """Return the text of ``n``!, with the last ``levels`` >= 1 squarings done in decimal.

    From the last list of ``factorial_factors`` to the first, r becomes r·r·(product of the list), as in Horner's rule.
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


def factorial_logarithm(arithmetic: IntervalArithmetic, n: int) -> Interval:
    """Return an enclosure of log10 n! for n >= 1,000, by Stirling's series up to its first omitted term."""
    number, one = arithmetic.integer(n), arithmetic.integer(1)
    log = (number + one / 2) * number.log() - number + (arithmetic.pi() * 2).log() / 2
    power, square, term = number, number * number, arithmetic.integer(0)
    for k, (numerator, denominator) in enumerate(_BERNOULLI, 1):
        log += term
        term = arithmetic.integer(numerator) / (power * (denominator * 2 * k * (2 * k - 1)))
        power *= square
    beyond = log + term
    enclosure = Interval(arithmetic, min(log.low, beyond.low), max(log.high, beyond.high))
    return enclosure / arithmetic.integer(10).log()
