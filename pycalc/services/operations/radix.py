"""Integers in the bases from 2 to 36."""

from __future__ import annotations

import re

from pycalc.errors import FieldProblem, InvalidInput, VerificationFailed
from pycalc.services.operations.base import VERIFIED_DIGITS
from pycalc.services.operations.numbers.gmp import mpz
from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.texts import ENDS, Ends, natural_residue
from pycalc.services.operations.numbers.thresholds import Costs, seconds

SMALLEST, LARGEST = 2, 36
DECIMAL = 10
_INTEGER = re.compile(rb"-?[0-9]+")
# Seconds to convert to the slowest base and to verify the result, by the number of decimal digits.
_SECONDS: Costs = (
    (30, 3e-6), (1_000, 1.5e-5), (3_000, 9e-5), (10_000, 3e-4), (33_000, 1e-3), (1e5, 5e-3), (1e6, 0.25), (1e7, 5.0),
)  # fmt: skip


def base_seconds(digits: int) -> float:
    """Estimate the seconds of ``in_base`` on one core for a text of ``digits`` decimal digits."""
    return seconds(_SECONDS, digits)


def in_base(text: bytes, exact: bool, base: int) -> bytes:
    """Convert the decimal text of an integer to another base, with the digits 0-9 and a-z.

    Raises InvalidInput if ``text`` is not an integer, or is rounded (not ``exact``). A long text is compared with the
    converted one modulo a random prime. Raises VerificationFailed if their residues differ.
    """
    if not exact or not _INTEGER.fullmatch(text):
        detail = "Only integers can be written in another base, and the result is not one: leave base out."
        raise InvalidInput.of(FieldProblem("/base", detail))
    written: bytes = mpz(text.decode()).digits(base).encode()
    if len(text) > VERIFIED_DIGITS:
        prime = random_prime()
        residue = natural_residue(written.removeprefix(b"-"), prime, base)
        same_sign = written.startswith(b"-") == text.startswith(b"-")
        if not same_sign or residue != natural_residue(text.removeprefix(b"-"), prime):
            raise VerificationFailed(f"a result of {len(text)} digits in base {base} did not agree with its residue")
    return written


def describe_in_base(text: bytes) -> Ends:
    """Return the number of digits, and the first and last 20 digits, of an integer's text in any base."""
    digits = text.removeprefix(b"-")
    return Ends(len(digits), digits[:ENDS].decode(), digits[-ENDS:].decode())
