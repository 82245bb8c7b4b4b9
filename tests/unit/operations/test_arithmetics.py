"""Large results by decimal arithmetic, compared with GMP and FLINT, and the prime factors of factorials."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import flint  # type: ignore[import-untyped,unused-ignore]
import pytest

from pycalc.services.operations.factorial.operation import factorial_decimal
from pycalc.services.operations.fibonacci import fibonacci_decimal
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.primes import factorial_factors, primes_up_to, product
from pycalc.services.operations.power.exact_text import power_decimal
from tests.harness.mission import THREE

FMPZ: Any = flint.fmpz
NAMES = ("FIBONACCI", "POWER", "FACTORIAL")


def digits(number: Any) -> str:
    """Return the decimal digits of a number, computed by FLINT, an independent library."""
    return str(number.str())


@pytest.fixture
def early_decimal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the thresholds of each operation, so that results from about 1,000 digits on use decimal arithmetic."""
    for name in NAMES:
        monkeypatch.setattr(thresholds, f"{name}_DECIMAL_DIGITS", 1_000)
        monkeypatch.setattr(thresholds, f"{name}_SEED_DIGITS", 100)


@pytest.mark.parametrize("levels", range(1, 11))
def test_fibonacci_by_decimal_doublings(levels: int) -> None:
    """F(n) with 1 to 10 doublings in decimal arithmetic equals FLINT's value, for even and odd n."""
    for n in [*range(1 << levels, (1 << levels) + 40), 12_345, 99_999, 65_536, 65_535]:
        assert str(fibonacci_decimal(n, levels)) == digits(FMPZ.fib_ui(n))


@pytest.mark.parametrize("levels", [1, 2, 5, 20])
def test_factorials_by_decimal_squarings(levels: int) -> None:
    """The factorial of n equals FLINT's value, with its last 1, 2, 5 or all squarings in decimal arithmetic."""
    for n in [2, 3, 4, 5, 6, 7, 9, 10, 24, 25, 26, 48, 49, 50, 120, 121, 122, 125, 169, 1_000, 1_024, 3_125, 4_999]:
        assert factorial_decimal(n, levels).decode() == digits(FMPZ.fac_ui(n))


@pytest.mark.parametrize("levels", range(1, 8))
def test_powers_by_decimal_squarings(levels: int) -> None:
    """A power with 1 to 7 squarings in decimal arithmetic equals FLINT's value."""
    for base in (2, 3, 5, 7, 12, 10**19 - 1, 10**19 + 1, 3**100):
        for k in (1 << levels, (1 << levels) + 1, (2 << levels) - 1, 300, 511, 512):
            if k >> levels:
                assert str(power_decimal(base, k, levels)) == digits(FMPZ(base) ** k)


@pytest.mark.usefixtures("early_decimal")
def test_the_switch_over_is_seamless() -> None:
    """Just below and above the thresholds for decimal arithmetic, lowered here, results are right and verified."""
    cases = [("fibonacci", {"n": str(n)}, FMPZ.fib_ui(n)) for n in range(4_770, 4_800)]
    cases += [("factorial", {"n": str(n)}, FMPZ.fac_ui(n)) for n in range(440, 460)]
    cases += [("pow", {"x": "3", "y": str(y)}, FMPZ(3) ** y) for y in range(1_645, 1_680)]
    for name, raw, expected in cases:
        operation = THREE[name]
        args = operation.parse(raw)
        text = operation.compute(args, 50)
        assert text.decode() == digits(expected)
        assert operation.verify(args, 50, text, 2**61 - 1)


@pytest.mark.parametrize("around", [-1, 1])
def test_the_measured_switch_over_points(around: int) -> None:
    """Just below and just above the thresholds for decimal arithmetic, the digits of results equal GMP's."""
    fibonacci, factorial, power = THREE.values()
    n = int(thresholds.FIBONACCI_DECIMAL_DIGITS / 0.2089876402) + 10 * around
    assert fibonacci.compute(fibonacci.parse({"n": str(n)}), 50) == gmp.fib(n).digits().encode()
    y = int(thresholds.POWER_DECIMAL_DIGITS / 0.60206) + 10 * around
    assert power.compute(power.parse({"x": "3", "y": str(y)}), 50) == (mpz(3) ** y).digits().encode()
    n = 242_700 + 500 * around
    assert factorial.compute(factorial.parse({"n": str(n)}), 50) == gmp.fac(n).digits().encode()


@pytest.mark.usefixtures("early_decimal")
@pytest.mark.parametrize(
    ("x", "y"),
    [("2.5", "3000"), ("-0.3", "2001"), ("0.02", "1500"), ("1200", "700"), ("0.6", "-900"), ("-3e5", "-2000")],
)
def test_large_decimals_and_fractions_agree(x: str, y: str) -> None:
    """The texts of long powers, with a sign, a decimal point, a slash or trailing zeros, have FLINT's values."""
    power = THREE["pow"]
    args = power.parse({"x": x, "y": y})
    text = power.compute(args, 50)
    value = flint.fmpq(*_ratio(x)) ** int(y)
    assert _fmpq_of(text.decode()) == value
    assert power.verify(args, 50, text, 2**61 - 1)
    assert not text.startswith(b"00")


def test_layers_multiply_to_the_factorial() -> None:
    """For n from 1 to 199, the prime lists and the power of ten from ``factorial_factors`` multiply to n!."""
    for n in range(1, 200):
        layers, zeros = factorial_factors(n)
        value = mpz(10) ** zeros
        for index, layer in enumerate(layers):
            value *= product(layer) ** (1 << index)
        assert value == gmp.fac(n)


@pytest.mark.parametrize(
    ("limit", "count"), [(0, 0), (1, 0), (2, 1), (3, 2), (10, 4), (100, 25), (121, 30), (10**6, 78_498)]
)
def test_the_sieve_finds_all_primes(limit: int, count: int) -> None:
    """The sieve finds as many primes as OEIS A000720 says, and the last 100 that it finds are primes."""
    primes = primes_up_to(limit)
    assert len(primes) == count
    assert all(gmp.is_prime(p) for p in primes[-100:])


def _ratio(x: str) -> tuple[int, int]:
    value = Fraction(x)
    return value.numerator, value.denominator


def _fmpq_of(text: str) -> flint.fmpq:
    numerator, _, denominator = text.partition("/")
    whole, _, places = numerator.partition(".")
    scale = FMPZ(10) ** len(places) * (FMPZ(int(mpz(denominator))) if denominator else 1)
    return flint.fmpq(FMPZ(int(mpz(whole + places))), scale)
