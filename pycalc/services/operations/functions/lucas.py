"""Lucas numbers: L(0) = 2, L(1) = 1, L(n) = L(n-1) + L(n-2)."""

from __future__ import annotations

import math
from typing import Any

from pycalc.services.operations.base import Estimate, Modular, Parameter, ResiduePlan, ResultSummary, Summarisable
from pycalc.services.operations.integer_operation import IntegerOperation, Integers
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.gmp import gmp, text_of
from pycalc.services.operations.numbers.growth import Ends, Logarithm, digits_by_logarithm, ends_by_logarithm
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.modular import checked_modulus, lucas_residues
from pycalc.services.operations.numbers.texts import ENDS

_LOG_PHI = math.log10((1 + math.sqrt(5)) / 2)
_SMALL = 20_000
_PERIOD = 15 * 10 ** (ENDS - 1)  # the period of the Lucas numbers modulo 10^20
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
        digits = len(text_of(int(gmp.lucas(n)))) if n < 10 else _digits(n)
        return Estimate(digits, thresholds.seconds(_SECONDS, digits), True, least=digits - 1)

    def compute(self, args: Integers, precision: int) -> bytes:
        return gmp.lucas(args[0]).digits().encode()  # type: ignore[no-any-return]

    def residue(self, args: Integers, precision: int, prime: int) -> int:
        return int(lucas_residues(args[0], prime)[0])

    def summary(self, args: Integers, precision: int) -> ResultSummary:
        (n,) = args
        if n < _SMALL:
            return ResultSummary(*Ends.of_text(text_of(int(gmp.lucas(n)))), exact=True)
        last = int(lucas_residues(n % _PERIOD, 10**ENDS)[0])
        return ResultSummary(*ends_by_logarithm(_logarithm(n), n.bit_length() + 20, last), exact=True)

    def summary_seconds(self, args: Integers) -> float:
        if args[0] < _SMALL:
            return 3e-6 + args[0] * 1.2e-9
        return thresholds.seconds(thresholds.FIBONACCI_SUMMARY_SECONDS, args[0].bit_length())

    def plan_modulo(self, args: Integers, modulus: int) -> ResiduePlan:
        return ResiduePlan(thresholds.fibonacci_residue_seconds(args[0], checked_modulus(modulus)))

    def modulo(self, args: Integers, modulus: int, method: Any = None) -> int:
        return int(lucas_residues(args[0], checked_modulus(modulus))[0])


def _digits(n: int) -> int:
    return digits_by_logarithm(n * _LOG_PHI if n < 10**9 else 1e9, _logarithm(n), n.bit_length() + 60)


def _logarithm(n: int) -> Logarithm:
    """Return a function that encloses log10 L(n) = n·log10(φ) + log10(1 ± φ^-2n).

    The last term is below 10^-0.4n and is not computed. Instead, the enclosure is widened by more than this term.
    """

    def logarithm(arithmetic: IntervalArithmetic) -> Interval:
        root = arithmetic.add(arithmetic.sqrt(arithmetic.integer(5)), arithmetic.integer(1))
        phi = arithmetic.divide(root, arithmetic.integer(2))
        growth = arithmetic.multiply(arithmetic.log10(phi), arithmetic.integer(n))
        tail = gmp.exp2(gmp.mpfr(-min(n, 2**20)))
        return arithmetic.add(growth, Interval(-tail, tail))

    return logarithm


OPERATION = Lucas()
