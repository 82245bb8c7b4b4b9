"""Prime factorization, with a proof that each factor is a prime."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from math import prod

from pycalc.errors import DomainError
from pycalc.services.operations.base import Estimate, Parameter, Stepwise
from pycalc.services.operations.integer_operation import IntegerOperation, Integers
from pycalc.services.operations.numbers.gmp import gmp, int_of
from pycalc.services.operations.numbers.literals import integer_json
from pycalc.services.operations.numbers.primes import (
    all_factors,
    coprime_part,
    is_proved_prime,
    primes_up_to,
    proof_seconds,
    small_factors,
)
from pycalc.services.operations.numbers.thresholds import Costs, seconds

_SIEVED_PRIMES = gmp.primorial(1 << 15)
_SMALL_SECONDS = 3e-5
_LONGEST_TESTED = 4_000  # bits below which an estimate tests the cofactor for primality
_SHORTEST_BY_CURVES = 180  # bits: the quadratic sieve splits a shorter number within a second or two
_CURVES_BITS = (24, 32, 40, 48)  # the bits of the prime factors that each round of elliptic curves looks for
# Seconds of the quadratic sieve for two primes of the same size, by the bits of their product. FLINT takes 70 ms to
# import, so even the first entry keeps the computation off the event loop.
_SECONDS: Costs = (
    (20, 4e-4), (64, 6e-4), (70, 1.3e-3), (75, 2e-3), (90, 2.9e-3), (100, 3.9e-3), (110, 7e-3), (120, 0.0135),
    (128, 0.022), (140, 0.044), (150, 0.09), (160, 0.19), (200, 3.9), (230, 24.0),
)  # fmt: skip


class Factorize(IntegerOperation, Stepwise[Integers]):
    """The prime factors of n in ascending order, with their exponents."""

    name = "factorize"
    title = "Prime factorization"
    description = "The prime factors of n in ascending order, each with its exponent; every prime is proved."
    parameters = (Parameter("n", "natural", "The number, from 1.", "360"),)
    numeric = False
    verified_above = 0

    def check(self, args: Integers) -> None:
        if args[0] == 0:
            raise DomainError("0 is no product of primes: n must be 1 or more.")

    def estimate(self, args: Integers, precision: int) -> Estimate:
        _, rest = small_factors(args[0])
        if rest == 1:
            return Estimate(0, _SMALL_SECONDS, True)
        if rest.bit_length() < _LONGEST_TESTED and gmp.is_strong_prp(rest, 2):
            return Estimate(0, _SMALL_SECONDS + 2 * proof_seconds(rest), True)
        rest = coprime_part(rest, _SIEVED_PRIMES)  # FLINT divides by these first
        bits = rest.bit_length()
        if 1 < bits < _LONGEST_TESTED:
            if gmp.is_strong_prp(rest, 2):
                return Estimate(0, seconds(_SECONDS, 0) + 2 * proof_seconds(rest), True)
            if gmp.is_power(rest):  # FLINT takes the root first
                bits //= next(k for k in primes_up_to(bits) if gmp.iroot(rest, k)[1])
        return Estimate(0, _SMALL_SECONDS + seconds(_SECONDS, bits), True)

    def steps(self, args: Integers, precision: int) -> Iterator[bytes]:
        """Yield the factors found so far: those below 1,000, those that elliptic curves find, and finally all."""
        factors, rest = small_factors(args[0])
        for bits in _CURVES_BITS:
            if rest.bit_length() < _SHORTEST_BY_CURVES or is_proved_prime(rest):
                break
            yield _text(factors)
            import flint  # this takes 70 ms; estimates for such numbers are high enough to keep them off the event loop

            found = [(int(factor), int(exponent)) for factor, exponent in flint.fmpz(rest).factor_smooth(bits)]
            proved = [(factor, exponent) for factor, exponent in found if is_proved_prime(factor)]
            factors += proved
            rest //= prod(factor**exponent for factor, exponent in proved)
        if is_proved_prime(rest):
            factors.append((rest, 1))
        elif rest > 1:
            yield _text(factors)
            factors += all_factors(rest)
        yield _text(factors)

    def verify(self, args: Integers, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` has proved primes in ascending order, whose powers have the product n."""
        found = [(int_of(str(each["prime"])), each["exponent"]) for each in json.loads(text)]
        primes = [factor for factor, _ in found]
        ascending = all(a < b for a, b in pairwise(primes))
        product = prod(factor**exponent for factor, exponent in found)
        positive = all(exponent >= 1 for _, exponent in found)
        return ascending and positive and product == args[0] and all(map(is_proved_prime, primes))


def _text(factors: list[tuple[int, int]]) -> bytes:
    found = [{"prime": integer_json(prime), "exponent": exponent} for prime, exponent in sorted(factors)]
    return json.dumps(found, separators=(",", ":")).encode()


OPERATION = Factorize()
