"""Numbers in the Python client: conversion of the service's texts to Python's values, and of operands to texts."""

from __future__ import annotations

import sys
from decimal import Decimal
from fractions import Fraction

import gmpy2
import pytest
from pycalc_client import Factor, IntegerRoot
from pycalc_client.numbers import Rational, Value, integer_of, literal, value_of


@pytest.mark.parametrize("digits", [1, 1_999, 2_000, 2_001, 4_000, 4_001, 12_345, 100_000])
@pytest.mark.parametrize(("sign", "base"), [("", 10), ("-", 10), ("", 7), ("", 36)])
def test_integers_of_any_length_are_converted(digits: int, sign: str, base: int) -> None:
    """Digits of any length are converted to the same integer as by GMP, without changing Python's limit on digits."""
    limit = sys.get_int_max_str_digits()
    text = sign + ("1203546" * (digits // 7 + 1))[:digits]
    assert integer_of(text, base) == int(gmpy2.mpz(text, base))
    assert sys.get_int_max_str_digits() == limit


@pytest.mark.parametrize(
    ("text", "exact", "base", "value"),
    [
        ("-12", True, 10, -12),
        ("0.064", True, 10, Decimal("0.064")),
        ("1/243", True, 10, Fraction(1, 243)),
        ("3.16e+60", False, 10, Decimal("3.16e60")),
        ("1414", False, 10, Decimal(1414)),
        ("ff", True, 16, 255),
        ("1e5", True, 16, 0x1E5),
        ("true", True, 36, 1389110),
        ("true", True, 10, True),
        ("false", True, 10, False),
        ('[{"prime":2,"exponent":3},{"prime":"9007199254740993","exponent":1}]', True, 10, None),
        ('{"root":-3,"remainder":11}', False, 10, IntegerRoot(-3, 11)),
    ],
)
def test_each_form_of_a_result_has_its_type(text: str, exact: bool, base: int, value: Value | None) -> None:
    """Integers, decimals, fractions, booleans, factors and roots become values of different types."""
    expected = [Factor(2, 3), Factor(2**53 + 1, 1)] if value is None else value
    found = value_of(text, exact=exact, base=base)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12"),
        (-(16**5000), "-0x1" + "0" * 5000),
        (2.5, "2.5"),
        (Decimal("1e-3"), "0.001"),
        (Fraction(-1, 3), "-1/3"),
        (Fraction(10**5000 - 1, 2), "9" * 5000 + "/2"),
        (" 0xFF", " 0xFF"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_operands_are_written_as_the_service_reads_them(value: Rational, text: str) -> None:
    """Numbers of any size become texts that the service can read; a text stays unchanged."""
    assert literal(value) == text
