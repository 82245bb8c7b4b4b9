"""Proofs of primality."""

from __future__ import annotations

from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.thresholds import Costs, seconds

_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
_PROVED_BY_BASES = 3_317_044_064_679_887_385_961_981
_BASES_SECONDS = 6e-6
_EVEN_SECONDS = 5e-6
# Seconds of FLINT's proof for a prime, by its bits.
_PROOF_SECONDS: Costs = (
    (82, 7e-4), (128, 1.7e-3), (256, 0.0145), (512, 0.11), (768, 0.4), (1_024, 1.3), (1_500, 4.3), (2_000, 14.0),
    (3_000, 90.0),
)  # fmt: skip
# Seconds of the strong test to base 2, and of the verification by another test, by the bits of a composite number.
_TEST_SECONDS: Costs = ((64, 1e-5), (128, 1.3e-5), (1_000, 1.6e-4), (3_300, 0.013), (10_000, 0.2), (33_200, 4.2))
_LONGEST_TESTED = 40_000  # bits up to which an estimate runs the strong test itself
# Up to this many bits, the strong test takes no longer than the search for small factors.
_SHORTEST_SEARCHED = 1_000
_SMALL_PRIMES = gmp.primorial(10_000)


def is_proved_prime(n: int) -> bool:
    """Return whether ``n`` is prime, proved by strong tests or, if ``n`` is large, by FLINT.

    No composite number below 3.3·10^24 passes the strong tests to the first 13 prime bases (Sorenson and Webster,
    2015). FLINT proves by the method of Pocklington and Morrison, or by APRCL.
    """
    if n < 2 or n in _BASES:
        return n >= 2
    if _has_small_factor(n) or not gmp.is_strong_prp(n, 2):  # nearly every composite number fails the test to base 2
        return False
    if n < _PROVED_BY_BASES:
        return all(gmp.is_strong_prp(n, base) for base in _BASES[1:])
    import flint  # this takes 70 ms; estimates for such numbers are high enough to keep them off the event loop

    return bool(flint.fmpz(n).is_prime())


def proof_seconds(n: int) -> float:
    """Estimate the total seconds of ``is_proved_prime(n)`` and of a second test that verifies its answer, on one core.

    If ``n`` has up to 40,000 bits and no small factor, this function runs the strong test to base 2, which for 10,000
    digits takes more than a second.
    """
    if n < 3 or _has_small_factor(n):
        return _EVEN_SECONDS
    test = seconds(_TEST_SECONDS, n.bit_length())
    probable = n.bit_length() <= _LONGEST_TESTED and gmp.is_strong_prp(n, 2)
    return test + prime_proof_seconds(n) if probable else test


def prime_proof_seconds(n: int) -> float:
    """Estimate the seconds to prove a prime as large as ``n`` on one core."""
    return _BASES_SECONDS if n < _PROVED_BY_BASES else seconds(_PROOF_SECONDS, n.bit_length())


def _has_small_factor(n: int) -> bool:
    """Return whether ``n`` is even, or has over 1,000 bits and a prime factor up to 10,000."""
    return not n % 2 or (n.bit_length() > _SHORTEST_SEARCHED and gmp.gcd(n, _SMALL_PRIMES) > 1)
