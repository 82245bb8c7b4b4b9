"""Primorials: products of primes."""

from __future__ import annotations

from math import ceil, prod

from pycalc.services.operations.base import Estimate, Parameter
from pycalc.services.operations.integer_operation import IntegerOperation, Integers
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.primes import marked_product, prime_sieve
from pycalc.services.operations.numbers.thresholds import Costs, seconds

_DIGITS_PER_UNIT = 0.44135  # 1.01624 / log(10), by the bound of Rosser and Schoenfeld (1962) for the sum of log p
_COUNTLESS = 10**300
# Seconds by n; from 2,371 on the product has more than 1,000 digits and is verified.
_SECONDS: Costs = (
    (100, 5e-6), (500, 6e-6), (1_000, 7e-6), (2_370, 1.1e-5), (2_371, 8e-5), (1e4, 2.3e-4), (3e4, 6.6e-4),
    (1e5, 2.6e-3), (1e6, 0.042), (5e6, 0.29), (1e7, 0.66),
)  # fmt: skip


class Primorial(IntegerOperation):
    """The product of the primes up to n."""

    name = "primorial"
    title = "Primorial"
    description = "The product of all primes up to n, in full; 1 for n below 2."
    parameters = (Parameter("n", "natural", "The largest number that may be a factor, from 0.", "30"),)

    def estimate(self, args: Integers, precision: int) -> Estimate:
        n = min(args[0], _COUNTLESS)
        return Estimate(ceil(n * _DIGITS_PER_UNIT) + 1, seconds(_SECONDS, n), True)

    def compute(self, args: Integers, precision: int) -> bytes:
        return gmp.primorial(args[0]).digits().encode()  # type: ignore[no-any-return]

    def residue(self, args: Integers, precision: int, prime: int) -> int:
        """Return the product modulo ``prime``, with the primes from our own sieve instead of GMP's."""
        (n,) = args
        return prod(small for small in (2, 3, 5) if small <= n) * marked_product(prime_sieve(n), prime) % prime


OPERATION = Primorial()
