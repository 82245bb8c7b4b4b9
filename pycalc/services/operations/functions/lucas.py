"""Lucas numbers: L(0) = 2, L(1) = 1, L(n) = L(n-1) + L(n-2)."""

from __future__ import annotations

from typing import Any

from pycalc.services.operations.base import Estimate, Modular, Parameter, ResiduePlan, Summarisable
from pycalc.services.operations.fibonacci import (
    LARGEST_DIRECT,
    LOG_PHI,
    PERIOD,
    fibonacci_summary_seconds,
    phi_logarithm,
)
from pycalc.services.operations.integer_operation import IntegerOperation, Integers
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.growth import digits_by_logarithm, ends_by_logarithm
from pycalc.services.operations.numbers.modular import lucas_residues
from pycalc.services.operations.numbers.texts import ENDS, Ends

_SECONDS: thresholds.Costs = (
    (21, 5e-6), (210, 6e-6), (1_000, 1.1e-5), (1_001, 3e-5), (2_100, 4.3e-5), (6_300, 1.05e-4), (2.1e4, 4.4e-4),
    (6.3e4, 2e-3), (2.1e5, 0.0098), (1e6, 0.07), (2.1e6, 0.176), (1e7, 1.3),
)  # fmt: skip


class Lucas(IntegerOperation, Modular[Integers], Summarisable[Integers]):
    """L(n) for n >= 0, exactly."""

    name = "lucas"
    title = "Lucas number"
    description = "The n-th Lucas number, L(0) = 2 and L(1) = 1, in full."
    parameters = (Parameter("n", "natural", "The index, from 0.", "100"),)

    def estimate(self, args: Integers, precision: int) -> Estimate:
        (n,) = args
        if n < 10:
            digits = len(gmp.lucas(n).digits())
        else:
            approximate = n * LOG_PHI if n < 10**9 else 1e9
            bits = n.bit_length() + 60
            digits = digits_by_logarithm(approximate, lambda arithmetic: phi_logarithm(arithmetic, n), bits)
        return Estimate(digits, thresholds.seconds(_SECONDS, digits), True, least=digits - 1)

    def compute(self, args: Integers, precision: int) -> bytes:
        return gmp.lucas(args[0]).digits().encode()  # type: ignore[no-any-return]

    def residue(self, args: Integers, precision: int, prime: int) -> int:
        return int(lucas_residues(args[0], prime)[0])

    def summary(self, args: Integers) -> Ends:
        (n,) = args
        if n < LARGEST_DIRECT:
            return Ends.of_text(gmp.lucas(n).digits())
        last = int(lucas_residues(n % PERIOD, 10**ENDS)[0])
        return ends_by_logarithm(lambda arithmetic: phi_logarithm(arithmetic, n), n.bit_length() + 20, last)

    def summary_seconds(self, args: Integers) -> float:
        return fibonacci_summary_seconds(args[0])

    def plan_modulo(self, args: Integers, modulus: int) -> ResiduePlan:
        return ResiduePlan(thresholds.fibonacci_residue_seconds(args[0], modulus))

    def modulo(self, args: Integers, modulus: int, method: Any = None) -> int:
        return int(lucas_residues(args[0], modulus)[0])


OPERATION = Lucas()
