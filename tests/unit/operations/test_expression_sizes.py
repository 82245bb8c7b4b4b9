"""Estimated bounds of the values in an expression, which must enclose the true values."""

from __future__ import annotations

from itertools import product

import pytest
from gmpy2 import mpq, mpz

from pycalc.services.operations import CALCULATIONS, OPERATIONS
from pycalc.services.operations.expressions.arithmetic import Arithmetic
from pycalc.services.operations.expressions.bounds import Bounds
from pycalc.services.operations.expressions.functions import Function
from pycalc.services.operations.expressions.sizes import Size, size_of

FUNCTIONS = {name: Function(operation) for name, operation in OPERATIONS.items()}

VALUES = [mpz(0), mpz(1), mpz(8), mpz(10**40), mpz(-3), mpz(-(10**20)), mpq(1, 3), mpq(-22, 7), mpq(10**30 + 1, 9)]


def encloses(size: Size, value: mpq) -> bool:
    """Return whether a value is within all the bounds of a size."""
    numerator, denominator = abs(value.numerator), value.denominator
    return (
        (size.low is None or size.low <= value <= size.high)
        and numerator <= 2 ** mpq(size.bits).__ceil__()
        and denominator <= 2 ** mpq(size.places).__ceil__()
        and (size.least == float("-inf") or value >= 2**size.least * (1 - 1e-12))
    )


@pytest.mark.parametrize(("a", "b"), list(product(VALUES, VALUES)))
def test_a_sum_is_within_its_bounds(a: mpq, b: mpq) -> None:
    """A sum is within its estimated bounds, whether its two terms are known exactly or only by their sizes."""
    for hidden in (False, True):
        sizes = [size_of(value) for value in (a, b)]
        left, right = [size._replace(low=None, high=None) for size in sizes] if hidden else sizes
        assert encloses(left.plus(right), mpq(a + b))


def loop_size(text: str) -> Size:
    """Return the estimated bounds of an expression."""
    return Bounds(Arithmetic(FUNCTIONS)).of(CALCULATIONS["evaluate"].parse({"expression": text}).root)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sum(i, 1, 100, i)", mpq(5_050)),
        ("sum(i, -100, 10, i)", mpq(-4_995)),
        ("sum(i, 1, 12, 1)", mpq(12)),
        ("sum(i, 1, 10, 1 / i)", mpq(7_381, 2_520)),
        ("sum(i, 1, 100, (i / 3)^2)", mpq(338_350, 9)),
        ("sum(i, 1, 4, (10^40 + 1) / (7 + i))", mpq(10**40 + 1) * (mpq(1, 8) + mpq(1, 9) + mpq(1, 10) + mpq(1, 11))),
        ("sum(i, 1, 16, 65535 + 0 * i)", mpq(16 * 65_535)),
        ("prod(i, 1, 100, 2 + 0 * i)", mpq(2**100)),
        ("prod(i, 1, 10, i)", mpq(3_628_800)),
        ("prod(i, 1, 10, i / (i + 7))", mpq(1, 19_448)),
        ("prod(i, -4, -1, i)", mpq(24)),
    ],
)
def test_a_loop_is_within_its_bounds(text: str, value: mpq) -> None:
    """The value of a sum or a product is within its estimated bounds, which are not too wide.

    The bounds have at most a hundred times as many bits as the value.
    """
    size = loop_size(text)
    assert encloses(size, value)
    assert size.bits + size.places <= 100 * (value.numerator.bit_length() + value.denominator.bit_length())


@pytest.mark.parametrize(("text", "value"), [("sum(i, 2, 1, i)", mpz(0)), ("prod(i, 2, 1, i)", mpz(1))])
def test_the_value_of_an_empty_loop_is_known(text: str, value: mpz) -> None:
    """An empty sum is 0, and an empty product is 1."""
    assert loop_size(text).value == value


@pytest.mark.parametrize(("text", "low", "high"), [("sum(i, 1, 3, i)", 0, 9), ("sum(i, -5, 2, i)", -40, 16)])
def test_the_bounds_of_a_sum_of_known_terms(text: str, low: int, high: int) -> None:
    """The bounds of a sum are those of a term times the number of terms, extended to include 0."""
    size = loop_size(text)
    assert (size.low, size.high) == (low, high)
