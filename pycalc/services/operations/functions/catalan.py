"""Catalan numbers: C(n) is 2n over n, divided by n + 1."""

from __future__ import annotations

from math import ceil, log10

from pycalc.services.operations.base import ByResidue, Estimate, Parameter
from pycalc.services.operations.factorial.residue import factorial_residue, factorial_residue_seconds
from pycalc.services.operations.integer_operation import IntegerOperation, Integers
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.texts import inverse
from pycalc.services.operations.numbers.thresholds import Costs, seconds

_LOG_4 = log10(4)
_COUNTLESS = 10**300
_SECONDS: Costs = (
    (20, 5e-6), (180, 7e-6), (1e3, 1e-5), (6e3, 7e-5), (1e4, 1.4e-4), (3e4, 7.5e-4), (1e5, 4e-3), (1e6, 0.095),
    (3e6, 0.37),
)  # fmt: skip


class Catalan(IntegerOperation, ByResidue[Integers]):
    """The n-th Catalan number, for n >= 0."""

    name = "catalan"
    title = "Catalan number"
    description = "The n-th Catalan number, the number of ways to nest n pairs of parentheses, in full; C(0) = 1."
    parameters = (Parameter("n", "natural", "The index, from 0.", "30"),)

    def estimate(self, args: Integers, precision: int) -> Estimate:
        n = min(args[0], _COUNTLESS)
        digits = max(1, ceil(n * _LOG_4))  # C(n) is at most 4^n
        verification = 0.0
        if digits > self.verified_above:
            verification = factorial_residue_seconds(n) + factorial_residue_seconds(2 * n)
        return Estimate(digits, seconds(_SECONDS, digits) + verification, True)

    def compute(self, args: Integers, precision: int) -> bytes:
        (n,) = args
        return gmp.divexact(gmp.bincoef(2 * n, n), n + 1).digits().encode()  # type: ignore[no-any-return]

    def residue(self, args: Integers, precision: int, prime: int) -> int:
        """Return (2n)! / (n!·(n + 1)!) modulo ``prime``, by factorials modulo it."""
        (n,) = args
        half = factorial_residue(n, prime)
        return factorial_residue(2 * n, prime) * inverse(half * half * (n + 1) % prime, prime) % prime


OPERATION = Catalan()
