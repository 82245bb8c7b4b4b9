"""Catalan numbers: C(n) is the binomial coefficient of 2n over n, divided by n + 1."""

from __future__ import annotations

from dataclasses import replace
from math import lgamma, log, log10
from typing import Any

from pycalc.services.operations.base import Estimate, Parameter, ResiduePlan
from pycalc.services.operations.binomials.modulo import plan_binomial
from pycalc.services.operations.binomials.residue import binomial_residue, binomial_residue_seconds
from pycalc.services.operations.functions.binomial import BINOMIAL_SECONDS, SUMMARY_SECONDS, binomial_logarithm
from pycalc.services.operations.integer_operation import Integers, SequenceOperation
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.texts import inverse


def _catalan(n: int) -> Any:
    return gmp.divexact(gmp.bincoef(2 * n, n), n + 1)


class Catalan(SequenceOperation):
    """The n-th Catalan number, for n >= 0."""

    name = "catalan"
    title = "Catalan number"
    description = "The n-th Catalan number, the number of ways to nest n pairs of parentheses, in full; C(0) = 1."
    parameters = (Parameter("n", "natural", "The index, from 0.", "30"),)
    number = staticmethod(_catalan)
    costs = BINOMIAL_SECONDS
    counted = direct = 2**10
    # From n = 2^10 on, two binomial coefficients are found modulo 10^20.
    summary_costs = ((10, 6e-6), (11, 1.2e-3), *((bits, 2 * time) for bits, time in SUMMARY_SECONDS))
    quick_modulo_length = 4

    def estimate(self, args: Integers, precision: int) -> Estimate:
        (n,) = args
        estimate = super().estimate(args, precision)
        if estimate.digits <= self.verified_above:
            return estimate
        return replace(estimate, seconds=estimate.seconds + binomial_residue_seconds(2 * n, n))

    def approximate_logarithm(self, n: int) -> float:
        return (lgamma(2 * n + 1) - 2 * lgamma(n + 1)) / log(10) - log10(n + 1) if n < 10**9 else 1e9

    def logarithm(self, arithmetic: IntervalArithmetic, n: int) -> Interval:
        return binomial_logarithm(arithmetic, 2 * n, n) - arithmetic.integer(n + 1).log10()

    def residue(self, args: Integers, precision: int, prime: int) -> int:
        """Return (2n over n) / (n + 1) modulo ``prime``, which must be above n + 1."""
        (n,) = args
        return binomial_residue(2 * n, n, prime) * inverse(n + 1, prime) % prime

    def plan_modulo(self, args: Integers, modulus: int) -> ResiduePlan:
        (n,) = args
        estimate = self.estimate(args, 1)
        plans = [plan_binomial(2 * n, k, modulus, estimate.seconds, estimate.digits) for k in (n, max(n - 1, 0))]
        method = tuple(plan.method for plan in plans)
        return ResiduePlan(sum(plan.seconds for plan in plans), max(plan.memory for plan in plans), method)

    def modulo(self, args: Integers, modulus: int, method: Any = None) -> int:
        """Return (2n over n) - (2n over n - 1), modulo ``modulus``."""
        (n,) = args
        middle, beside = method or self.plan_modulo(args, modulus).method
        difference: int = middle.residue(2 * n, n) - (beside.residue(2 * n, n - 1) if n else 0)
        return difference % modulus

    def verify_modulo(self, args: Integers, modulus: int, method: Any, residue: int, prime: int) -> bool:
        """Return whether ``residue`` is (2n-1 over n-1) - (2n-1 over n-2) modulo ``modulus``, by Pascal's rule."""
        (n,) = args
        estimate = self.estimate(args, 1)
        near, far = (
            plan_binomial(2 * n - 1, k, modulus, estimate.seconds, estimate.digits).method.residue(2 * n - 1, k)
            for k in (n - 1, n - 2)
        )
        return bool((near - far - residue) % modulus == 0)


OPERATION = Catalan()
