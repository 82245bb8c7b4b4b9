"""Estimated bounds of the values in an expression, which must enclose the true values."""

from __future__ import annotations

from itertools import product

import pytest
from gmpy2 import mpq, mpz

from pycalc.services.operations.expressions.sizes import Size, size_of

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
