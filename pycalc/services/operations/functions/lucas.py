"""Lucas numbers: L(0) = 2, L(1) = 1, L(n) = L(n-1) + L(n-2)."""

from __future__ import annotations

from typing import Any

from pycalc.services.operations.fibonacci import Fibonacci
from pycalc.services.operations.integer_operation import Integers
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.modular import lucas_residues


class Lucas(Fibonacci):
    """L(n) for n >= 0, exactly. The Fibonacci numbers have the same recurrence, but other first numbers."""

    name = "lucas"
    title = "Lucas number"
    description = "The n-th Lucas number, L(0) = 2 and L(1) = 1, in full."
    number = gmp.lucas
    divisor = 1
    costs = (
        (21, 5e-6), (210, 6e-6), (1_000, 1.1e-5), (1_001, 3e-5), (2_100, 4.3e-5), (6_300, 1.05e-4), (2.1e4, 4.4e-4),
        (6.3e4, 2e-3), (2.1e5, 0.0098), (1e6, 0.07), (2.1e6, 0.176), (1e7, 1.3),
    )  # fmt: skip

    def compute(self, args: Integers, precision: int) -> bytes:
        return self.number(args[0]).digits().encode()  # type: ignore[no-any-return]

    def modulo(self, args: Integers, modulus: int, method: Any = None) -> int:
        return int(lucas_residues(args[0], modulus)[0])


OPERATION = Lucas()
