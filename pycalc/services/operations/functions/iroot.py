"""Integer roots with their remainders."""

from __future__ import annotations

import json

from pycalc.errors import DomainError
from pycalc.services.operations.base import Estimate, Parameter
from pycalc.services.operations.integer_operation import IntegerOperation, Integers, digits_of_bits
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.literals import LONGEST_OPERAND, integer_json
from pycalc.services.operations.numbers.thresholds import Costs, seconds

# Seconds for the root, its text and its verification, by the bits of the largest possible remainder.
_SECONDS: Costs = (
    (64, 7e-6), (1_000, 1e-5), (3_300, 1.8e-5), (10_000, 6e-5), (33_200, 3e-4), (332_000, 0.012), (3_320_000, 0.3),
)  # fmt: skip


class IntegerRootOperation(IntegerOperation):
    """The floor of the k-th root of n, and the remainder: n less the k-th power of that floor."""

    name = "iroot"
    title = "Integer root"
    description = (
        "The floor of the k-th root of n, and the remainder, which is n less the k-th power of that root. The answer "
        "is exact where the remainder is 0."
    )
    parameters = (
        Parameter("n", "integer", "The number to take the root of.", "1000003", LONGEST_OPERAND),
        Parameter("k", "positive", "The degree of the root; odd for a negative n.", "3"),
    )
    numeric = False

    def check(self, args: Integers) -> None:
        n, k = args
        if n < 0 and k % 2 == 0:
            raise DomainError("A negative n has no real root of an even degree: k must be odd.")

    def estimate(self, args: Integers, precision: int) -> Estimate:
        n, k = args
        bits = n.bit_length()
        # For n >= 0 the remainder is at most n. For a negative n it is below |root|^k, which is at most 2^(bits + k).
        remainder_bits = bits + k if n < -1 else bits
        digits = digits_of_bits(bits // k + 2) + digits_of_bits(remainder_bits)
        return Estimate(digits, seconds(_SECONDS, remainder_bits), True)

    def compute(self, args: Integers, precision: int) -> bytes:
        n, k = args
        size = abs(n)
        # GMP refuses huge degrees. If |n| has at most k bits, it is below 2^k, so the root of |n| is 0 or 1.
        root, remainder = gmp.iroot_rem(size, k) if k < size.bit_length() else (min(size, 1), max(size - 1, 0))
        if n < 0:
            root += remainder > 0
            root, remainder = -root, root**k - size if remainder else 0
        found = {"root": integer_json(int(root)), "remainder": integer_json(int(remainder))}
        return json.dumps(found, separators=(",", ":")).encode()

    def is_exact(self, text: bytes) -> bool:
        return text.endswith(b'"remainder":0}')

    def verify(self, args: Integers, precision: int, text: bytes, prime: int) -> bool:
        """Return whether n = root^k + remainder, the remainder is not negative, and n < (root + 1)^k."""
        n, k = args
        found = json.loads(text)
        root, remainder = (mpz(str(found[part])) for part in ("root", "remainder"))
        if k >= n.bit_length() and n > 0:
            return bool(root == 1 and remainder == n - 1)
        power = root**k
        return bool(remainder >= 0 and power + remainder == n and n < (root + 1) ** k)


OPERATION = IntegerRootOperation()
