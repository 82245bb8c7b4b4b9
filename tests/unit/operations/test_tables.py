"""Constants, primes, intervals and measured times, compared with mpmath, OEIS and exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import factorial as standard_factorial
from math import prod
from typing import Any

import mpmath  # type: ignore[import-untyped,unused-ignore]
import pytest
from gmpy2 import mpz

from pycalc.services.operations.factorial import operation as factorial
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.growth import digits_by_logarithm
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic, floor_of, nearest_of, settled
from pycalc.services.operations.numbers.primes import (
    factorial_exponent,
    factorial_factors,
    marked_product,
    prime_sieve,
    primes_up_to,
    product,
)
from pycalc.services.operations.power.exact_text import Term

PRIMES_BELOW_50 = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]  # The first primes, from OEIS A000040.


def test_the_bernoulli_numbers_of_stirlings_series() -> None:
    """The table has the Bernoulli numbers of the even indices from 2 to 28, in lowest terms."""
    expected = [mpmath.bernfrac(2 * k) for k in range(1, 15)]
    assert list(factorial._BERNOULLI) == [(int(numerator), int(denominator)) for numerator, denominator in expected]


@pytest.mark.parametrize("n", [1_000, 1_001, 12_345, 10**9, 10**18])
def test_stirlings_series_encloses_the_logarithm(n: int) -> None:
    """The interval for log10 n! contains the value, and is as narrow as the series' last term allows."""
    with mpmath.workprec(700):
        enclosure = factorial.factorial_logarithm(IntervalArithmetic(600), n)
        low, high = _mpf(enclosure.low), _mpf(enclosure.high)
        assert low < mpmath.loggamma(n + 1) / mpmath.log(10) < high
        last_term = abs(mpmath.bernoulli(28)) / (28 * 27 * mpmath.mpf(n) ** 27 * mpmath.log(10))
        assert last_term < mpmath.mpf(n) ** -25
        assert abs(high - low - last_term) < mpmath.mpf(2) ** -500


def _mpf(value: Any) -> Any:
    """Return an MPFR number as an mpmath number, exactly."""
    mantissa, exponent = value.as_mantissa_exp()
    return mpmath.ldexp(int(mantissa), int(exponent))


@pytest.mark.parametrize("limit", range(50))
def test_the_sieve_ends_with_its_limit(limit: int) -> None:
    """The sieve includes its limit if the limit is prime (OEIS A000040)."""
    assert primes_up_to(limit) == [prime for prime in PRIMES_BELOW_50 if prime <= limit]


@pytest.mark.parametrize(("limit", "count"), [(10**3, 168), (10**4, 1_229), (10**5, 9_592), (10**6, 78_498)])
def test_the_number_of_primes(limit: int, count: int) -> None:
    """The numbers of primes up to powers of ten equal OEIS A006880."""
    assert len(primes_up_to(limit)) == count


@pytest.mark.parametrize(("n", "prime", "exponent"), [(0, 2, 0), (1, 2, 0), (10, 2, 8), (10, 3, 4), (100, 5, 24)])
def test_the_exponent_of_a_prime_in_a_factorial(n: int, prime: int, exponent: int) -> None:
    """The exponents of primes in n! agree with 10! = 2^8·3^4·5^2·7, and with the 24 zeros at the end of 100!."""
    assert factorial_exponent(n, prime) == exponent


@pytest.mark.parametrize("n", [*range(2, 60), 120, 121, 122, 168, 169, 170, 1_000])
def test_the_layers_of_a_factorial(n: int) -> None:
    """The prime lists and power of ten from ``factorial_factors`` give n!; no list contains 5 or repeats a prime."""
    layers, zeros = factorial_factors(n)
    joined = 10**zeros
    for index, layer in enumerate(layers):
        assert len(set(layer)) == len(layer)
        joined *= int(product(layer)) ** 2**index
    assert joined == standard_factorial(n)
    assert not any(5 in layer for layer in layers)


@pytest.mark.parametrize(
    "value", ["0", "1/3", "-1/3", "5/2", "-5/2", "7", "-7", "1e30", "-1e-30", "1023.5", "3e-9", "1e80", "-3e70"]
)
def test_floor_and_nearest(value: str) -> None:
    """The floor and the nearest integer of an MPFR number equal those of an exact fraction; halves are rounded up."""
    arithmetic = IntervalArithmetic(200)
    exact = Fraction(value)
    quotient = (arithmetic.integer(exact.numerator) / exact.denominator).low
    mantissa, exponent = quotient.as_mantissa_exp()
    held = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    assert floor_of(quotient) == held.__floor__()
    assert [nearest_of(quotient, factor) for factor in (1, 3, 10**6)] == [
        (held * factor + Fraction(1, 2)).__floor__() for factor in (1, 3, 10**6)
    ]


def test_what_is_not_decided_is_tried_with_twice_the_precision() -> None:
    """An undecided attempt is repeated with twice the precision (Ziv's strategy), up to almost four million bits.

    A first attempt at four million bits or more is repeated once.
    """
    tried: list[int] = []

    def decides_above(bits: int) -> Callable[[IntervalArithmetic], bool | None]:
        def attempt(arithmetic: IntervalArithmetic) -> bool | None:
            tried.append(arithmetic.bits)
            return arithmetic.bits > bits or None

        return attempt

    assert settled(decides_above(900), 100)
    assert tried == [100, 200, 400, 800, 1_600]
    tried.clear()
    with pytest.raises(ArithmeticError):
        settled(lambda arithmetic: tried.append(arithmetic.bits), 999_999)
    assert tried == [999_999, 1_999_998, 3_999_996]
    tried.clear()
    with pytest.raises(ArithmeticError):
        settled(lambda arithmetic: tried.append(arithmetic.bits), 4_000_000)
    assert tried == [4_000_000, 8_000_000]


@pytest.mark.parametrize("base", [2, 3, 7, 11, 99, 101, 123_456_789, 10**130 + 7])
@pytest.mark.parametrize("exponent", [0, 1, 2, 19, 20, 21, 300, 1_999, 2_000, 4_000, 4_001])
def test_the_size_and_the_ends_of_a_power(base: int, exponent: int) -> None:
    """The size and the first and last digits of a power equal those of the exact power, for short and long powers."""
    text = str(mpz(base) ** exponent)
    power = Term(base, exponent, 0)
    assert power.sizes() == (len(text), len(text))
    assert power.ends() == (len(text), text[:20], text[-20:])


def test_the_size_of_a_power_with_a_huge_exponent() -> None:
    """The size of 2^(10^400) equals that by mpmath, although the exponent is too large for a float."""
    with mpmath.workprec(1_500):
        assert Term(2, 10**400, 0).sizes()[0] == int(mpmath.floor(10**400 * mpmath.log10(2))) + 1


@pytest.mark.parametrize("base", [1, 5])
def test_a_power_that_is_one(base: int) -> None:
    """A zeroth power is 1."""
    power = Term(base, 0, 0)
    assert (power.sizes(), power.ends(), power.text()) == ((1, 1), (1, "1", "1"), "1")


@pytest.mark.parametrize("exponent", [13_301, 28_738])
def test_a_power_beside_a_power_of_ten_has_the_right_size(exponent: int) -> None:
    """The size of a power of 2 is right, even if the power is just below or just above a power of ten.

    The exponents are denominators of convergents of log10(2).
    """
    assert Term(2, exponent, 0).sizes()[0] == len(mpz(2**exponent).digits())


def test_the_time_for_the_ends_of_a_power() -> None:
    """The estimated time for the first and last digits of a power is within a factor of two of the measured 0.6 s.

    This was measured for a long base, which needs a high precision. For other bases, the estimate is below 1 ms.
    """
    assert 0.3 < Term(10**100_000 + 1, 3, 0).ends_seconds() < 1.2
    assert Term(10**130 + 7, 4_001, 0).ends_seconds() < 1e-3
    assert Term(2, 10**18, 0).ends_seconds() < 1e-4
    assert Term(1, 0, 0).ends_seconds() < 1e-4


@pytest.mark.parametrize(
    ("approximate", "integer", "digits"),
    [(3.99995, 10_000, 5), (4.00005, 9_999, 4), (4.00005, 10_000, 5), (10**9 + 0.5, 10**20, 21)],
)
def test_a_doubtful_logarithm_is_enclosed(approximate: float, integer: int, digits: int) -> None:
    """If an approximate logarithm is near an integer or too large to be precise, its enclosure gives the digits."""
    assert digits_by_logarithm(approximate, lambda arithmetic: arithmetic.integer(integer).log10(), 100) == digits


@pytest.mark.parametrize(("approximate", "digits"), [(0.5, 1), (3.001, 4), (3.999, 4), (10**9 - 0.5, 10**9)])
def test_a_certain_logarithm_is_not_enclosed(approximate: float, digits: int) -> None:
    """If an approximate logarithm is not near an integer, it gives the digit count without the slow enclosure."""

    def never(arithmetic: IntervalArithmetic) -> Interval:
        raise AssertionError("the enclosure is not needed")

    assert digits_by_logarithm(approximate, never, 100) == digits


@pytest.mark.parametrize(
    ("costs", "size", "expected"),
    [
        (((10, 1.0), (1_000, 100.0)), 1, 1.0),
        (((10, 1.0), (1_000, 100.0)), 10, 1.0),
        (((10, 1.0), (1_000, 100.0)), 100, 10.0),
        (((10, 1.0), (1_000, 100.0)), 1_000, 100.0),
        (((10, 1.0), (1_000, 100.0)), 10_000, 1_000.0),
        (((10, 1.0), (100, 10.0), (1_000, 1_000.0)), 100, 10.0),
        (((10, 1.0), (100, 10.0), (1_000, 1_000.0)), 500, 250.0),
        (((10, 1.0), (100, 10.0), (1_000, 1_000.0)), 2_000, 4_000.0),
    ],
)
def test_times_between_measurements(costs: thresholds.Costs, size: float, expected: float) -> None:
    """Times between two measurements are interpolated linearly in logarithms.

    Below the first measurement they are constant; above the last measurement they continue the last slope.
    """
    assert thresholds.seconds(costs, size) == pytest.approx(expected)


def test_the_time_of_what_is_far_too_large_is_finite() -> None:
    """The estimated time of a far too large operand is finite, so that it can be compared and summed."""
    assert 1e200 < thresholds.seconds(((10, 1.0), (1_000, 1_000_000.0)), 1e300) < float("inf")


@pytest.mark.parametrize("name", [name for name in vars(thresholds) if name.endswith("_SECONDS")])
def test_measured_times_grow_with_the_size(name: str) -> None:
    """In each table of measured times, sizes and times increase strictly, and the first time is below 1 ms."""
    costs = getattr(thresholds, name)
    sizes, times = zip(*costs, strict=True)
    assert list(sizes) == sorted({*sizes})
    assert list(times) == sorted({*times})
    assert times[0] > 0
    assert times[0] < 1e-3


@pytest.mark.parametrize("limit", [*range(50), 1_000, 100_000])
def test_the_product_of_the_primes_of_a_sieve(limit: int) -> None:
    """``marked_product`` of a sieve is the product of the primes from 7 up to the limit, modulo a number."""
    modulus = 2**61 - 1
    assert marked_product(prime_sieve(limit), modulus) == prod(primes_up_to(limit)[3:]) % modulus
