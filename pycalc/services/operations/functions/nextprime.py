"""The next prime, with a proof that it is a prime."""

from __future__ import annotations

from pycalc.services.operations.base import Estimate, Parameter
from pycalc.services.operations.integer_operation import IntegerOperation, Integers, digits_of_bits, value_of
from pycalc.services.operations.numbers.gmp import gmp, text_of
from pycalc.services.operations.numbers.primes import is_proved_prime, prime_proof_seconds
from pycalc.services.operations.numbers.thresholds import Costs, seconds

_SEARCH_SECONDS: Costs = (
    (8, 2e-6), (64, 1e-5), (128, 3e-5), (256, 1.6e-4), (512, 1.4e-3), (1_024, 0.018), (2_048, 0.25),
)  # fmt: skip


class NextPrime(IntegerOperation):
    """The smallest prime above n."""

    name = "nextprime"
    title = "Next prime"
    description = "The smallest prime number above n; that it is a prime is proved."
    parameters = (Parameter("n", "natural", "The number, from 0.", "100"),)

    def estimate(self, args: Integers, precision: int) -> Estimate:
        bits = args[0].bit_length()
        proof = prime_proof_seconds(2 * args[0])  # the prime is below 2n if n > 1 (Bertrand's postulate)
        return Estimate(digits_of_bits(bits + 1), seconds(_SEARCH_SECONDS, bits) + proof, True)

    def compute(self, args: Integers, precision: int) -> bytes:
        candidate = int(gmp.next_prime(args[0]))  # GMP skips only composite numbers
        while not is_proved_prime(candidate):
            candidate = int(gmp.next_prime(candidate))
        return text_of(candidate).encode()

    def verify(self, args: Integers, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` is a prime above n, and no number between n and that prime is a prime."""
        value = value_of(text)
        if value is None or value <= args[0] or not is_proved_prime(int(value)):
            return False
        return not any(map(is_proved_prime, range(args[0] + 1, int(value))))


OPERATION = NextPrime()
