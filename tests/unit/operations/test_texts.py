"""Residues and digit counts that are computed from a result's text."""

from __future__ import annotations

from fractions import Fraction

import pytest

from pycalc.services.operations.numbers.texts import Ends, describe, digits_residue

MERSENNE = 2**61 - 1


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "7",
        "-7",
        "123456789",
        "-2305843009213693951",
        "2305843009213693952",
        "9" * 5_000,
        "7" * 150_000,
        "-" + "81" * 225_001,
    ],
)
def test_the_residue_of_an_integer(text: str) -> None:
    """An integer's residue equals the remainder by Horner's rule on its digits."""
    value = 0
    for digit in text.lstrip("-"):
        value = (value * 10 + int(digit)) % MERSENNE
    assert digits_residue(text.encode(), MERSENNE) == (-value if text[0] == "-" else value) % MERSENNE


@pytest.mark.parametrize("text", ["0.5", "-0.5", "15.625", "0.000001", "123.456", "1/3", "-1/27", "100/9", "22/7"])
def test_the_residue_of_a_rational_is_numerator_over_denominator(text: str) -> None:
    """The residue of a decimal or fraction is its numerator times the inverse of its denominator, modulo p."""
    value = Fraction(text)
    residue = digits_residue(text.encode(), MERSENNE)
    assert residue is not None
    assert residue * value.denominator % MERSENNE == value.numerator % MERSENNE


@pytest.mark.parametrize(
    "text", [b"", b"abc", b"1/x", b"--1", b"1..5", b"NaN", b"Infinity", b"sNaN", b"1 2", b"1e5", b"+1", b"1.", b".5"]
)
def test_no_number_has_no_residue(text: bytes) -> None:
    """If a text is not a number in the form of a result, such as ``abc`` or ``+1``, its residue is None."""
    assert digits_residue(text, MERSENNE) is None


def test_a_denominator_without_inverse_is_a_division_by_zero() -> None:
    """1/p modulo p raises ZeroDivisionError."""
    with pytest.raises(ZeroDivisionError):
        digits_residue(b"1/2305843009213693951", MERSENNE)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (b"0", Ends(1, "0", "0")),
        (b"-12", Ends(2, "12", "12")),
        (b"-12.5", Ends(3, "125", "125")),
        (b"-1/27", Ends(3, "127", "127")),
        (b"1.5e+300", Ends(2, "15", "15")),
        (b"0.0000000000000000000000125", Ends(26, "0" * 20, "0" * 17 + "125")),
        (b"12345678901234567890.12345678901234567890", Ends(40, "12345678901234567890", "12345678901234567890")),
        (b"-123456789012345678901/3", Ends(22, "12345678901234567890", "34567890123456789013")),
    ],
)
def test_signs_and_points_are_not_digits(text: bytes, facts: Ends) -> None:
    """Digits are counted and shown without sign, decimal point, slash and exponent."""
    assert describe(text) == facts
