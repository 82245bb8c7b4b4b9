"""The least common multiple."""

from __future__ import annotations

from pycalc.services.operations.base import Estimate, Parameter
from pycalc.services.operations.integer_operation import IntegerOperation, Integers, digits_of_bits, value_of
from pycalc.services.operations.numbers.gmp import gmp, text_of
from pycalc.services.operations.numbers.literals import LONGEST_OPERAND
from pycalc.services.operations.numbers.modular import are_coprime, gcd_seconds, text_seconds

# The time of the verification, as a multiple of the time for the greatest common divisor.
_VERIFICATION_FACTOR = 1.7


class Lcm(IntegerOperation):
    """The least common multiple lcm(a, b) >= 0, which is 0 if a or b is 0."""

    name = "lcm"
    title = "Least common multiple"
    description = "The smallest whole number above 0 that both a and b divide; 0 if one of them is 0."
    parameters = (
        Parameter("a", "integer", "A whole number.", "21", LONGEST_OPERAND),
        Parameter("b", "integer", "Another whole number.", "6", LONGEST_OPERAND),
    )

    def estimate(self, args: Integers, precision: int) -> Estimate:
        bits = sum(value.bit_length() for value in args)
        digits = digits_of_bits(bits)
        verification = _VERIFICATION_FACTOR if digits > self.verified_above else 0.0
        return Estimate(digits, text_seconds(bits) + (1 + verification) * gcd_seconds(*args), True)

    def compute(self, args: Integers, precision: int) -> bytes:
        return text_of(int(gmp.lcm(*args))).encode()

    def verify(self, args: Integers, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` is a positive multiple of both operands with coprime quotients, or 0 if one is 0."""
        value = value_of(text)
        if not all(args):
            return bool(value == 0)
        if value is None or value < 1 or any(value % operand for operand in args):
            return False
        return are_coprime(*(value // operand for operand in args))


OPERATION = Lcm()
