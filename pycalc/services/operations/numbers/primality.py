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
    (82, 7e-4), (128, 1.7e-3), (256, 0.0145), (512, 0.11), (768, 0.4), (1_024, 1.3), (1_500, 4.3),
)  # fmt: skip
# Seconds of the strong test to base 2, which finds nearly every composite number, by the number's bits.
_TEST_SECONDS: Costs = ((64, 1e-5), (128, 1.3e-5), (1_000, 1.6e-4), (3_300, 3e-3), (10_000, 0.06), (33_200, 1.5))
_LONGEST_TESTED = 4_000  # bits up to which an estimate runs the strong test itself


def is_proved_prime(n: int) -> bool:
    """Return whether ``n`` is a prime number, proved by strong tests or, for a large ``n``, by FLINT.

    No composite number below 3.3·10^24 passes the strong tests to the first 13 bases (Sorenson and Webster, 2015).
    FLINT proves by the method of Pocklington and Morrison, or by APRCL.
    """
    if n < 2 or n in _BASES:
        return n >= 2
    bases = _BASES if n < _PROVED_BY_BASES else _BASES[:1]
    if not n % 2 or not all(gmp.is_strong_prp(n, base) for base in bases):
        return False
    if n < _PROVED_BY_BASES:
        return True
    import flint  # this takes 70 ms; estimates for such numbers are high enough to keep them off the event loop

    return bool(flint.fmpz(n).is_prime())


def proof_seconds(n: int) -> float:
    """Estimate the seconds that ``is_proved_prime`` takes for ``n`` on one core.

    For an odd number of up to _LONGEST_TESTED bits, the estimate runs the strong test to base 2.
    """
    bits = n.bit_length()
    if n < 3 or not n % 2:
        return _EVEN_SECONDS
    test = seconds(_TEST_SECONDS, bits)
    composite = bits > _LONGEST_TESTED or not gmp.is_strong_prp(n, 2)
    return test if composite else test + prime_proof_seconds(n)


def prime_proof_seconds(n: int) -> float:
    """Estimate the seconds of the proof for a prime of the size of ``n`` on one core."""
    return _BASES_SECONDS if n < _PROVED_BY_BASES else seconds(_PROOF_SECONDS, n.bit_length())
