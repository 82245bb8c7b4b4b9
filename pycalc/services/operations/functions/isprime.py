"""Primality tests whose answers are proved."""

from __future__ import annotations

from pycalc.services.operations.base import Estimate, Parameter
from pycalc.services.operations.integer_operation import IntegerOperation, Integers
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.literals import LONGEST_OPERAND
from pycalc.services.operations.numbers.primes import is_proved_prime, proof_seconds


class IsPrime(IntegerOperation):
    """A primality test whose answer is proved."""

    name = "isprime"
    title = "Primality"
    description = "true if n is a prime number, which is proved, and false if it is not."
    parameters = (Parameter("n", "natural", "The number, from 0.", "97", LONGEST_OPERAND),)
    numeric = False
    verified_above = 0

    def estimate(self, args: Integers, precision: int) -> Estimate:
        return Estimate(0, proof_seconds(args[0]), True)

    def compute(self, args: Integers, precision: int) -> bytes:
        return b"true" if is_proved_prime(args[0]) else b"false"

    def verify(self, args: Integers, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` agrees with GMP's probabilistic test, which finds nearly every composite number."""
        return text == (b"true" if gmp.is_prime(args[0]) else b"false")


OPERATION = IsPrime()
