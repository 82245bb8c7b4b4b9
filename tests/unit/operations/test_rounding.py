"""Correct rounding of irrational powers, to the last decimal digit."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import pytest
from gmpy2 import mpz

from pycalc.services.operations import OPERATIONS

POWER = OPERATIONS["pow"]


def decimal_text(value: Fraction) -> str:
    """Return the decimal form of a fraction; the form must be finite."""
    places = 0
    while value.denominator != 1:
        value *= 10
        places += 1
    digits = mpz(value.numerator).digits().rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def root_of(square: Fraction, precision: int) -> str:
    """Return the verified square root of ``square`` that the service computes."""
    args = POWER.parse({"x": decimal_text(square), "y": "0.5"})
    text = POWER.compute(args, precision)
    assert POWER.verify(args, precision, text, 2**61 - 1)
    return text.decode()


@pytest.mark.parametrize("distance", [10, 60, 500, 4_000])
def test_a_value_beside_a_tie_is_rounded_to_its_own_side(distance: int) -> None:
    """sqrt(1.23455² ± 10^-d), just above or below a tie, rounds to 1.2346 or 1.2345."""
    square, epsilon = Fraction(123455, 100_000) ** 2, Fraction(1, 10**distance)
    assert root_of(square + epsilon, 5) == "1.2346"
    assert root_of(square - epsilon, 5) == "1.2345"


@pytest.mark.parametrize("distance", [30, 300, 4_000])
def test_a_root_beside_a_power_of_ten_is_rounded_correctly(distance: int) -> None:
    """Square roots just above or below 1 and 0.1 are correctly rounded to 20 digits."""
    epsilon = Fraction(1, 10**distance)
    assert root_of(1 + epsilon, 20) == root_of(1 - epsilon, 20) == "1." + "0" * 19
    assert root_of(Fraction(1, 100) - epsilon, 20) == "0.1" + "0" * 19
    assert root_of((1 - Fraction(1, 10**20)) ** 2 + epsilon * epsilon / 10**50, 20) == "0." + "9" * 20


@pytest.mark.parametrize("precision", [1, 2, 3, 10, 100, 1_000, 10_000])
def test_square_roots_agree_with_integer_square_roots(precision: int) -> None:
    """The digits of sqrt(2), sqrt(3) and sqrt(7) equal those of scaled and rounded integer square roots."""
    for radicand in (2, 3, 7):
        expected = (isqrt(4 * radicand * 10 ** (2 * precision - 2)) + 1) // 2
        assert root_of(Fraction(radicand), precision).replace(".", "") == mpz(expected).digits()


@pytest.mark.parametrize(
    ("x", "y", "precision", "text"),
    [
        ("2", "0.5", 1, "1"),
        ("99", "0.5", 1, "1e+1"),
        ("99", "0.5", 2, "9.9"),
        ("99.9", "0.5", 2, "10"),
        ("1e-12", "0.45", 3, "0.00000398"),
        ("1e-13", "0.5", 3, "3.16e-7"),
        ("0.99999e-12", "0.5", 3, "0.00000100"),
        ("1000001", "0.5", 4, "1000"),
        ("1000001", "0.5", 3, "1.00e+3"),
        ("-2", "0.2", 3, "-1.15"),
        ("0." + "9" * 40, "0.5", 50, "0." + "9" * 40 + "5" + "0" * 9),
        ("-2", "-0.2", 3, "-0.871"),
    ],
)
def test_the_form_of_a_rounded_text(x: str, y: str, precision: int, text: str) -> None:
    """Rounded texts are plain from 0.000001 up to ``precision`` integer digits, otherwise in scientific notation.

    Trailing zeros show the precision.
    """
    args = POWER.parse({"x": x, "y": y})
    assert POWER.compute(args, precision).decode() == text
    assert POWER.verify(args, precision, text.encode(), 2**61 - 1)
    assert POWER.estimate(args, precision).digits == precision
    assert precision <= sum(map(str.isdigit, text.partition("e")[0])) <= precision + 6


@pytest.mark.parametrize("wrong", ["1.4143", "1.4141", "-1.4142", "1.41421", "1.414", "01.4142", "1.4142e+0", "x", ""])
def test_a_wrong_rounding_is_found_out(wrong: str) -> None:
    """The verification rejects sqrt(2) at 5 digits with another last digit, sign, length or form."""
    args = POWER.parse({"x": "2", "y": "0.5"})
    assert POWER.verify(args, 5, b"1.4142", 2**61 - 1)
    assert not POWER.verify(args, 5, wrong.encode(), 2**61 - 1)
