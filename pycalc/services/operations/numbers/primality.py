"""Proofs of primality."""

from __future__ import annotations

from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.thresholds import Costs, seconds

# The proof for a prime, by its bits.
PROOF_SECONDS: Costs = (
    (64, 6e-6), (70, 1e-3), (128, 1.7e-3), (256, 0.0145), (512, 0.11), (768, 0.4), (1_024, 1.3), (1_500, 4.3),
)  # fmt: skip
# A test that finds nearly every composite number, by the bits.
_TEST_SECONDS: Costs = ((64, 2e-6), (1_000, 1.2e-4), (3_300, 3e-3), (10_000, 0.06), (33_200, 1.5))
_LONGEST_TESTED = 4_000  # bits of a number that is tested when the time for it is estimated


def is_proved_prime(n: int) -> bool:
    """Return whether ``n`` is a prime number: by a strong test that shows it composite, or by FLINT's proof.

    FLINT proves by trial division, BPSW below 2^64 (where it has no exception), Pocklington and Morrison, or APRCL.
    """
    if n < 2 or (n > 2 and not n % 2) or (n > 3 and not gmp.is_strong_prp(n, 2)):
        return False
    import flint  # takes longer to import than most operations to compute

    return bool(flint.fmpz(n).is_prime())


def proof_seconds(n: int) -> float:
    """Return how long ``is_proved_prime`` takes on one core."""
    bits = n.bit_length()
    test = seconds(_TEST_SECONDS, bits)
    composite = n < 3 or not n % 2 or bits > _LONGEST_TESTED or not gmp.is_strong_prp(n, 2)
    return test if composite else test + seconds(PROOF_SECONDS, bits)
