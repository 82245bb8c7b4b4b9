"""The greatest common divisor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pycalc.services.operations.base import Estimate, Parameter
from pycalc.services.operations.integer_operation import IntegerOperation, Integers, digits_of_bits, value_of
from pycalc.services.operations.numbers.gmp import gmp, text_of
from pycalc.services.operations.numbers.literals import LONGEST_OPERAND
from pycalc.services.operations.numbers.modular import are_coprime, gcd_seconds, text_seconds


class Gcd(IntegerOperation):
    """The greatest common divisor gcd(a, b) >= 0, with gcd(0, 0) = 0."""

    name = "gcd"
    title = "Greatest common divisor"
    description = "The largest whole number that divides both a and b; 0 if both are 0."
    parameters = (
        Parameter("a", "integer", "A whole number.", "1071", LONGEST_OPERAND),
        Parameter("b", "integer", "Another whole number.", "462", LONGEST_OPERAND),
    )

    def estimate(self, args: Integers, precision: int) -> Estimate:
        short, long = sorted(value.bit_length() for value in args)
        time = gcd_seconds(*args) if short else max(gcd_seconds(*args), text_seconds(long))
        return Estimate(digits_of_bits(short or long), time, True)

    def longest_results(self, ranges: Sequence[tuple[int, int]]) -> Iterable[Integers]:
        (least_a, most_a), (least_b, most_b) = ranges
        if least_a <= 0 <= most_a:  # gcd(0, b) is |b|
            yield 0, max(-least_b, most_b)
        if least_b <= 0 <= most_b:
            yield max(-least_a, most_a), 0

    def compute(self, args: Integers, precision: int) -> bytes:
        return text_of(int(gmp.gcd(*args))).encode()

    def verify(self, args: Integers, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` is a positive divisor of both operands with coprime quotients, or 0 if both are 0."""
        value = value_of(text)
        if not any(args):
            return bool(value == 0)
        if value is None or value < 1 or any(operand % value for operand in args):
            return False
        return are_coprime(*(operand // value for operand in args))


OPERATION = Gcd()
