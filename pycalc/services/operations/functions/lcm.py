"""The least common multiple."""

from __future__ import annotations

from pycalc.services.operations.base import Estimate, Parameter
from pycalc.services.operations.integer_operation import IntegerOperation, Integers, digits_of_bits, value_of
from pycalc.services.operations.numbers.divisors import are_coprime
from pycalc.services.operations.numbers.gmp import gmp, text_of
from pycalc.services.operations.numbers.thresholds import Costs, seconds

# The divisor, the product, its text and the verification, by the bits of the longer operand.
_SECONDS: Costs = ((64, 2.5e-6), (1_650, 1e-5), (3_300, 5e-5), (33_200, 1.8e-3), (332_000, 0.055), (3_320_000, 1.1))


class Lcm(IntegerOperation):
    """lcm(a, b) >= 0, which is 0 where one of them is."""

    name = "lcm"
    title = "Least common multiple"
    description = "The smallest whole number above 0 that both a and b divide; 0 if one of them is 0."
    parameters = (
        Parameter("a", "integer", "A whole number.", "21"),
        Parameter("b", "integer", "Another whole number.", "6"),
    )

    def estimate(self, args: Integers, precision: int) -> Estimate:
        bits = [value.bit_length() for value in args]
        return Estimate(digits_of_bits(sum(bits)), seconds(_SECONDS, max(bits)), True)

    def compute(self, args: Integers, precision: int) -> bytes:
        return text_of(int(gmp.lcm(*args))).encode()

    def verify(self, args: Integers, precision: int, text: bytes, prime: int) -> bool:
        """Return whether both operands divide the value, and the quotients are coprime by Bézout's identity."""
        value = value_of(text)
        if not all(args):
            return bool(value == 0)
        if value is None or value < 1 or any(value % operand for operand in args):
            return False
        return are_coprime(*(value // operand for operand in args))


OPERATION = Lcm()
