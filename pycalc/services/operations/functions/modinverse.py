"""The inverse modulo a whole number."""

from __future__ import annotations

from pycalc.errors import DomainError
from pycalc.services.operations.base import Estimate, Parameter
from pycalc.services.operations.integer_operation import IntegerOperation, Integers, digits_of_bits, value_of
from pycalc.services.operations.numbers.gmp import gmp, text_of
from pycalc.services.operations.numbers.literals import LONGEST_OPERAND, shortened
from pycalc.services.operations.numbers.modular import gcd_seconds, text_seconds

_INVERSE_FACTOR = 1.3  # the time of the extended Euclidean algorithm, as a multiple of the time for a gcd


class ModularInverse(IntegerOperation):
    """The inverse of a modulo m: the x from 0 to m - 1 with a·x = 1 modulo m."""

    name = "modinverse"
    title = "Modular inverse"
    description = "The x from 0 to m - 1 for which a times x leaves the remainder 1 when divided by m; 0 for m = 1."
    parameters = (
        Parameter("a", "integer", "The number to invert.", "3", LONGEST_OPERAND),
        Parameter("m", "positive", "The modulus.", "11", LONGEST_OPERAND),
    )

    def estimate(self, args: Integers, precision: int) -> Estimate:
        bits = args[1].bit_length()
        return Estimate(digits_of_bits(bits), _INVERSE_FACTOR * gcd_seconds(*args) + text_seconds(bits), True)

    def compute(self, args: Integers, precision: int) -> bytes:
        a, m = args
        try:
            return text_of(int(gmp.invert(a, m))).encode()
        except ZeroDivisionError:
            shown = shortened(int(gmp.gcd(a, m)))
        detail = f"a has no inverse modulo m, because both are multiples of {shown}: only coprime ones have an inverse."
        raise DomainError(detail)

    def verify(self, args: Integers, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` is an x with 0 <= x < m and a·x = 1 modulo m, where ``args`` is (a, m)."""
        a, m = args
        value = value_of(text)
        return bool(value is not None and 0 <= value < m and (value * a - 1) % m == 0)


OPERATION = ModularInverse()
